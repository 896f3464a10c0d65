"""Files that are whole or not there: written beside their place, brought to the disk, then moved there."""

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

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
STALE_S = 3600.0  # nobody writes on at what has not grown for so long [s]


@contextmanager
def writing(path) -> Iterator[None]:
    """Whatever fails in here because of the disk becomes a `NotWritten` that says what to do.

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
        if e.errno in FULL:
            raise NotWritten(
                f"{path} cannot be written: the disk is full ({os.strerror(e.errno)}); what was there before is as it "
                "was. Free some space, then do this again",
                e.errno,
            ) from e
        if e.errno in CLOSED:
            raise NotWritten(
                f"{path} cannot be written: its folder is closed to you ({os.strerror(e.errno)}); choose another "
                "folder, or have this one opened",
                e.errno,
            ) from e
        raise


def atomically(path, write: Callable[[Path], object]) -> None:
    """Let `write(part)` make a file beside `path`, then put it in its place; failing leaves nothing.

    Parameters
    ----------
    path : str or Path
        Its folder is made if need be. Whoever looks sees the old file or the new one, also after a power cut.
    write : callable
        Takes the path to write to, a file of the same folder.

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
    """Move a finished file to where it belongs, once the disk has all of it."""
    with part.open("rb+") as f:
        os.fsync(f.fileno())
    part.replace(path)
    if os.name == "posix":  # the name, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError:
            pass  # some file systems have no such thing
        finally:
            os.close(folder)


def sweep(folder) -> None:
    """Remove what processes that were killed have left half-written, an hour ago or longer."""
    for part in Path(folder).glob(".*.part"):
        try:
            if time.time() - part.stat().st_mtime > STALE_S:
                part.unlink()
        except OSError:
            pass  # another process was quicker


@contextmanager
def only_process(folder) -> Iterator[None]:
    """Keep all other processes out of a folder that is written to for long; the lock ends with the process.

    Raises
    ------
    ParameterError
        If another process is in there.
    NotWritten
        If the folder's own folder may not be written to.
    """
    folder = Path(folder).absolute()
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise ParameterError(
            f"{folder} is being trained into by another process; wait for it or stop it, or give this run a name of "
            "its own"
        ) from None
    try:
        if folder.is_dir():
            sweep(folder)
        yield
    finally:
        lock.release()


def read_limited(path, n_max: int, what: str) -> bytes:
    """The bytes of a small file, `n_max` at most: read before anything else is made of it.

    Raises
    ------
    MissingInput
        If there is no such file.
    ParameterError
        If it is none, or larger.
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
            f"{path} is over {n_max / 1e6:g} MB, which nothing of its kind is; {what}"
        )
    return data


def parsed_json(data: bytes, path, way_out: str):
    """JSON of a file that anybody may have made.

    Raises
    ------
    ParameterError
        If it is none.
    """
    try:
        return json.loads(data.decode("utf-8"))
    # ValueError: no JSON, no text, or a number of 5000 digits
    except (ValueError, RecursionError) as e:
        raise ParameterError(f"{path} is not valid JSON ({e}); {way_out}") from e


def within(folder, name: str) -> Path:
    """`folder / name`, unless that is a link to somewhere else.

    Raises
    ------
    ParameterError
        If it leads out of the folder.
    """
    path = Path(folder) / name
    if path.is_symlink() and Path(folder).resolve() not in path.resolve().parents:
        raise ParameterError(
            f"{path} is a link that leads out of its folder, which is not followed; copy the file itself there"
        )
    return path


def sha256(*parts: bytes | memoryview) -> str:
    """What tells whether bytes, one part after the other, are still the same."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
