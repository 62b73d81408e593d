"""One writer at a time: a lock file beside the database, which the system releases when its process ends."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from foundation.errors import StoreError

try:
    import fcntl
except ImportError:  # no such locks on this system; SQLite's own still keep every single chunk whole
    fcntl = None  # type: ignore[assignment]


def write_lock(database: Path, *, wait_s: float) -> BinaryIO:
    """The lock for writing to *database*, held until it is closed.

    Raises StoreError that says who writes when another process still holds it after *wait_s* seconds.
    """
    path = Path(f"{database.resolve()}.lock")
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; the folder of the database must be writable") from error
    deadline = time.monotonic() + wait_s
    while not _is_taken(file):
        if time.monotonic() > deadline:
            file.seek(0)
            writer = file.read().decode() or "another process"
            file.close()
            raise StoreError(f"{database}: {writer} is writing to it; waited {wait_s:g} s, try again when it is done")
        time.sleep(0.05)
    with suppress(OSError):  # the lock holds even if the disk is too full for the name of its holder
        file.truncate(0)
        file.write(f"process {os.getpid()} (since {time.strftime('%Y-%m-%d %H:%M:%S')})".encode())
    return file


def _is_taken(file: BinaryIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
