"""Write files whole or not at all, lock folders, and read files up to a limit.

A file is written under a hidden name beside its place, flushed to the disk, then renamed.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import MissingInput, NotWritten, ParameterError

DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
NOT_PERMITTED = {errno.EACCES, errno.EPERM, errno.EROFS}
STALE_S = 3600.0  # a partial file untouched for this long was abandoned [s]
SAMPLES = Path("data/sample/sources")  # speech of many people that the clone brings


@contextmanager
def writing(path) -> Iterator[None]:
    """Turn disk errors raised in this block into `NotWritten`, with a hint on how to fix them.

    Raises
    ------
    NotWritten
        If the disk is full, or the folder of `path` may not be written to.
    """
    try:
        yield
    except (NotWritten, MissingInput):
        raise
    except OSError as e:
        if e.errno in DISK_FULL:
            raise NotWritten(
                f"{path} cannot be written: the disk is full ({os.strerror(e.errno)}); the old file "
                "is unchanged. Free some space, then try again",
                e.errno,
            ) from e
        if e.errno in NOT_PERMITTED:
            raise NotWritten(
                f"{path} cannot be written: its folder is closed to you ({os.strerror(e.errno)}); choose another "
                "folder, or get permission to write there",
                e.errno,
            ) from e
        raise


def check_not_source(source: Path, destination: Path) -> None:
    """Raise ParameterError if `destination` is the file `source`, which would be lost."""
    if source.exists() and destination.exists() and source.samefile(destination):
        raise ParameterError(
            f"{destination} is the source itself; give the destination another name"
        )


def atomically(path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all: readers see the old file or the new one, also after a power cut.

    Parameters
    ----------
    path : str or Path
        The file. Its folder is made if it does not exist.
    write : callable
        Writes to the path it is given: a hidden file in the same folder, which is then renamed.
        If `write` fails the hidden file is removed.

    Raises
    ------
    NotWritten
        If the disk is full, or the folder may not be written to.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            put_in_place(part, path)
        finally:
            part.unlink(missing_ok=True)


def put_in_place(part: Path, path: Path) -> None:
    """Rename a finished file to `path`, after flushing it to the disk."""
    with part.open("rb+") as f:
        os.fsync(f.fileno())
    part.replace(path)
    if os.name == "posix":  # flush the new name, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError:
            pass  # some file systems cannot flush a folder
        finally:
            os.close(folder)


def sweep(folder) -> None:
    """Remove partial files that killed processes left in a folder over `STALE_S` ago."""
    for part in Path(folder).glob(".*.part"):
        try:
            if time.time() - part.stat().st_mtime > STALE_S:
                part.unlink()
        except OSError:
            pass  # another process has removed it


@contextmanager
def only_process(folder) -> Iterator[None]:
    """Lock a folder against other processes; the lock ends with the block or the process.

    Raises
    ------
    ParameterError
        If another process holds the lock.
    NotWritten
        If the lock file cannot be written beside the folder.
    """
    folder = Path(folder).absolute()
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise ParameterError(
            f"{folder} is being trained into by another process; wait for it or stop it, or give this run another "
            "name"
        ) from None
    try:
        if folder.is_dir():
            sweep(folder)
        yield
    finally:
        lock.release()


def read_limited(path, n_max: int, what: str) -> bytes:
    """Read a file of limited size.

    Parameters
    ----------
    path : str or Path
    n_max : int [bytes]
        The largest size that is accepted.
    what : str
        What to do if the file cannot be used; the end of the error messages.

    Raises
    ------
    MissingInput
        If the file does not exist.
    ParameterError
        If it is a folder or a device, or larger than `n_max`.
    """
    path = Path(path)
    if not path.exists():
        raise MissingInput(f"{path} does not exist; {what}")
    if not path.is_file():
        raise ParameterError(f"{path} is not a file; {what}")
    with path.open("rb") as f:
        data = f.read(n_max + 1)
    if len(data) > n_max:
        raise ParameterError(
            f"{path} is over {n_max / 1e6:g} MB, the limit for such a file; {what}"
        )
    return data


def parsed_json(data: bytes, path, way_out: str):
    """Parse JSON that may be malformed.

    Parameters
    ----------
    data : bytes
        The content of the file `path`.
    path : str or Path
        Named in the error message.
    way_out : str
        What to do if `data` is not JSON; the end of the error message.

    Raises
    ------
    ParameterError
        If `data` is not JSON.
    """
    try:
        return json.loads(data.decode("utf-8"))
    # ValueError: not JSON, not UTF-8, or a number of over 4300 digits
    except (ValueError, RecursionError) as e:
        raise ParameterError(f"{path} is not valid JSON ({e}); {way_out}") from e


def within(folder, name: str) -> Path:
    """Return `folder / name` after checking that it does not link to a place outside the folder.

    Raises
    ------
    ParameterError
        If it is a link that leads out of the folder.
    """
    path = Path(folder) / name
    if path.is_symlink() and Path(folder).resolve() not in path.resolve().parents:
        raise ParameterError(
            f"{path} is a link that leads out of its folder and is not followed; copy the file itself there"
        )
    return path


def sha256(*parts: bytes | memoryview) -> str:
    """SHA-256 hex digest of the concatenated parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
