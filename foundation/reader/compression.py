"""The bytes in a file: as they are, or unpacked from gzip or zstd."""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from foundation.errors import Code, SourceError

zstd: Any = None
with suppress(ImportError):  # of the standard library from Python 3.14 on
    zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

PACKED = (".gz", ".zst")
_BLOCK = 2**20
_BROKEN = (gzip.BadGzipFile, zlib.error, *([zstd.ZstdError] if zstd else []))


def unpacked_beside(path: Path) -> Path | None:
    """What a packed file of this name would be called unpacked; None for a file that is not packed."""
    return path.with_suffix("") if path.suffix in PACKED else None


def open_file(path: Path, limit: int) -> tuple[BinaryIO, int]:
    """A file to read bytes from, unpacked if its name ends like that of a packed one, and how many bytes there are.

    A packed file is read through first, so that nothing is stored of one that is broken, cut off or holds more than
    *limit* bytes. Raises SourceError for those, and for what is no regular file or may not be read.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(Code.NOT_FOUND, f"{path}: no such file") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise SourceError(Code.NOT_TEXT, f"{path}: {what}, not a regular file")
    try:
        file: BinaryIO = path.open("rb")
    except PermissionError as error:
        raise SourceError(Code.NOT_FOUND, f"{path}: it may not be read; make it readable") from error
    if path.suffix not in PACKED:
        return file, os.fstat(file.fileno()).st_size
    try:
        unpacked = io.BufferedReader(_Unpacked(path, file, limit), _BLOCK)
        size = 0
        while block := unpacked.read(_BLOCK):
            size += len(block)
        unpacked.seek(0)
    except BaseException:
        file.close()
        raise
    return unpacked, size


class _Unpacked(io.RawIOBase):
    """What is in a packed *file*, at most *limit* bytes of it."""

    def __init__(self, path: Path, file: BinaryIO, limit: int) -> None:
        self._path, self._packed, self._limit = path, file, limit
        if path.suffix == ".zst" and not zstd:
            raise self._error("to unpack zstd, install foundation[zstd]; or pack the file with gzip")
        self._file: Any = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else zstd.ZstdFile(file)

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; raises SourceError when that cannot be done, or there is too much."""
        with self._translate_errors():
            count: int = self._file.readinto(buffer)
        if self._file.tell() > self._limit:
            remedy = "if that is right, declare a greater max_unpacked in its source"
            raise self._error(f"more than {self._limit:,} bytes when it is unpacked; {remedy}")
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the unpacked bytes; to go back is to begin anew."""
        with self._translate_errors():
            return int(self._file.seek(offset, whence))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Close the packed file, too."""
        self._packed.close()
        super().close()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except EOFError as error:
            raise self._error("the packed file is cut off; copy it again") from error
        except _BROKEN as error:
            raise self._error(f"it cannot be unpacked, {error}; pack or copy it again") from error

    def _error(self, problem: str) -> SourceError:
        return SourceError(Code.NOT_UNPACKED, f"{self._path}: {problem}")
