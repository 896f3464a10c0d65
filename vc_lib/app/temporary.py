"""The temporary folder of a server: it is removed with the server, or by the next one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, LOCK = "vc-app-", ".lock"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder, removed at the end; those of servers that were killed are removed first."""
    sweep_folders(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with FileLock(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_folders(parent: Path) -> None:
    """Remove folders of the same user whose server has ended without removing them.

    One without a lock belongs to a server that is just starting.
    """
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        folder = lock.parent
        with suppress(OSError, Timeout):
            if folder.is_symlink() or not _is_mine(folder):
                continue
            with FileLock(lock, timeout=0):
                pass
            shutil.rmtree(folder, ignore_errors=True)


def _is_mine(folder: Path) -> bool:
    return os.name != "posix" or folder.stat().st_uid == os.getuid()
