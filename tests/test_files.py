"""Files are written whole or not at all, folders locked, and files read up to a limit."""

import errno
import os
import subprocess
import sys
import time

import pytest

from vc_lib import files
from vc_lib.errors import MissingInput, NotWritten, ParameterError
from vc_lib.files import atomically, only_process, parsed_json, read_limited, sweep, within

# Writes files in a process that may write 10 kB at most, as on a disk that is nearly full
NEARLY_FULL = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
from vc_lib.files import atomically
path = Path(sys.argv[1])
atomically(path, lambda part: part.write_bytes(b"new" * 100))
try:
    atomically(path, lambda part: part.write_bytes(bytes(20_000)))
except OSError as e:
    print(type(e).__name__, e)
"""


def test_a_full_disk_is_reported_and_keeps_the_old_file(tmp_path):
    run = [sys.executable, "-c", NEARLY_FULL, str(tmp_path / "a.txt")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"NotWritten {tmp_path / 'a.txt'} cannot be written: the disk is")
    assert "Free some space, then try again" in done.stdout
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"new" * 100


@pytest.mark.parametrize(
    "number, message", [(errno.ENOSPC, "Free some space"), (errno.EROFS, "choose another folder")]
)
def test_disk_errors_become_not_written(tmp_path, number, message):
    def write(part):
        part.write_text("half")
        raise OSError(number, os.strerror(number), part)

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(NotWritten, match=message) as refusal:
        atomically(tmp_path / "a.txt", write)
    assert refusal.value.errno == number and str(refusal.value).startswith(str(tmp_path / "a.txt"))
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def write(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomically(tmp_path / "a.txt", write)
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_other_errors_are_not_changed(tmp_path):
    for error in (OSError("a tape"), MissingInput("a file"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, files.writing(tmp_path / "a"):
            raise error
        assert raised.value is error


def test_sweep_removes_old_partial_files_only(tmp_path):
    for name in (".a.txt.1.part", ".b.txt.2.part", "c.part", ".d"):
        (tmp_path / name).write_text("x")
    old = time.time() - files.STALE_S - 1
    for name in (".a.txt.1.part", "c.part", ".d"):
        os.utime(tmp_path / name, (old, old))
    sweep(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {".b.txt.2.part", "c.part", ".d"}


# Locks a folder, prints that, and waits
LOCK = """
import sys, time
from vc_lib.files import only_process
with only_process(sys.argv[1]):
    print("in", flush=True)
    time.sleep(60)
"""


def test_only_process_locks_until_its_process_is_killed(tmp_path):
    run = tmp_path / "models" / "run"
    with subprocess.Popen([sys.executable, "-c", LOCK, str(run)], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(ParameterError, match="trained into by another process; wait for it"):
            with only_process(run):
                raise AssertionError("two are in")
        with only_process(tmp_path / "models" / "other"):
            pass
        other.kill()
    with only_process(run), only_process(tmp_path / "models" / "other"):
        pass
    assert not run.exists(), "it is made by who writes"


@pytest.mark.parametrize("text", ["", "{", "\ufeff{}", "[" * 100_000, "1" * 5_000], ids=len)
def test_parsed_json_rejects_malformed_text(tmp_path, text):
    with pytest.raises(ParameterError, match=r"a.json is not valid JSON .*; copy it again"):
        parsed_json(text.encode(), tmp_path / "a.json", "copy it again")


def test_read_limited_rejects_larger_files_and_non_files(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    assert read_limited(tmp_path / "a", 100, "copy it again") == bytes(100)
    with pytest.raises(ParameterError, match=r"over 9.9e-05 MB.*; copy it again"):
        read_limited(tmp_path / "a", 99, "copy it again")
    with pytest.raises(MissingInput, match="b does not exist; copy it again"):
        read_limited(tmp_path / "b", 99, "copy it again")
    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(ParameterError, match="is not a file"):
            read_limited(path, 99, "copy it again")


def test_within_rejects_links_out_of_the_folder(tmp_path):
    (tmp_path / "voice").mkdir()
    for name in ("voice/real", "secret"):
        (tmp_path / name).write_text("x")
    (tmp_path / "voice" / "near").symlink_to("real")
    (tmp_path / "voice" / "far").symlink_to("../secret")
    (tmp_path / "voice" / "absolute").symlink_to(tmp_path / "secret")
    for name in ("real", "near", "missing"):
        assert within(tmp_path / "voice", name) == tmp_path / "voice" / name
    for name in ("far", "absolute"):
        with pytest.raises(ParameterError, match="leads out of its folder"):
            within(tmp_path / "voice", name)
