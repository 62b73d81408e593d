"""What is installed, held against environment.yml and requirements.lock, which lie beside the package in a checkout."""

import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from foundation.errors import StoreError
from foundation.store.database import Store

_ROOT = Path(__file__).parents[2]
_CONDA = {"matplotlib-base": "matplotlib"}  # names that are others there
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(;)?", re.MULTILINE)
_LEAST = re.compile(r"^\s*-\s*([A-Za-z0-9._-]+)>=([0-9][0-9.]*)\s*(?:#.*)?$", re.MULTILINE)


class Finding(NamedTuple):
    """One thing that a run needs."""

    what: str
    wanted: str
    found: str
    is_well: bool


def examine(root: Path = _ROOT) -> list[Finding]:
    """All that was looked at: the kernel, SQLite, what environment.yml asks for, what the lock pins."""
    return [_kernel(), *_sqlite(), *_least(root / "environment.yml"), *_locked(root / "requirements.lock")]


def _kernel() -> Finding:
    """The kernel that notebooks are run with must be the Python that this is."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return Finding("kernel python3", sys.executable, "jupyter_client is not installed", False)
    try:
        found = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Finding("kernel python3", sys.executable, "none: install ipykernel", False)
    return Finding("kernel python3", sys.executable, found, found in (sys.executable, "python", "python3"))


def _sqlite() -> Iterator[Finding]:
    """A database is made: that needs STRICT tables, foreign keys and a write-ahead log."""
    try:
        with tempfile.TemporaryDirectory(prefix="foundation-") as scratch, Store(Path(scratch) / "x.db") as store:
            (found,) = store.execute("SELECT sqlite_version()").fetchone()
            (keys,) = store.execute("PRAGMA foreign_keys").fetchone()
            (strict,) = store.execute("SELECT strict FROM pragma_table_list WHERE name = '_runs'").fetchone()
    except StoreError as error:
        yield Finding("SQLite", "3.37 or newer", str(error), False)
        return
    yield Finding("SQLite", "3.37 or newer", found, _parts(found) >= (3, 37))
    yield Finding("SQLite: STRICT tables", "yes", "yes" if strict else "no", bool(strict))
    yield Finding("SQLite: foreign keys", "yes", "yes" if keys else "no", bool(keys))


def _least(path: Path) -> Iterator[Finding]:
    """The least versions in environment.yml; names alone ask for any."""
    if not path.is_file():
        yield _lost(path)
        return
    for name, least in _LEAST.findall(path.read_text("utf-8")):
        found = platform.python_version() if name == "python" else _installed(_CONDA.get(name, name))
        yield Finding(
            f"{name} ({path.name})",
            f"{least} or newer",
            found or "none",
            bool(found) and _parts(found) >= _parts(least),
        )


def _locked(path: Path) -> Iterator[Finding]:
    """The exact versions in the lock; what has a condition may be for another machine, or pinned twice."""
    if not path.is_file():
        yield _lost(path)
        return
    pins: dict[str, list[str]] = {}
    conditional = set()
    for name, pinned, condition in _LOCKED.findall(path.read_text("utf-8")):
        pins.setdefault(name, []).append(pinned)
        conditional |= {name} if condition else set()
    for name, wanted in pins.items():
        found = _installed(name)
        if found or name not in conditional:
            yield Finding(f"{name} ({path.name})", " or ".join(wanted), found or "none", found in wanted)


def _lost(path: Path) -> Finding:
    told = f"not in {path.parent}: it is part of a checkout, not of an installed package; run from a checkout"
    return Finding(path.name, "the file", told, False)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _parts(told: str) -> tuple[int, ...]:
    """The numbers of a version, to be compared."""
    return tuple(int(part) for part in re.findall(r"[0-9]+", told.split("+")[0])[:3])
