"""What is installed, held against environment.yml and requirements.lock, which lie beside the package in a checkout."""

import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from foundation.errors import StoreError, extra
from foundation.store import Store

with extra("notebooks", "versions are compared by it"):
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import SpecifierSet

_ROOT = Path(__file__).parents[2]
_CONDA = {"matplotlib-base": "matplotlib"}  # names that are others there
_SQLITE = SpecifierSet(">=3.37")  # has STRICT tables


class Finding(NamedTuple):
    """One thing that a run needs."""

    what: str
    wanted: str
    found: str
    is_well: bool


def examine(root: Path = _ROOT) -> list[Finding]:
    """All that was looked at: the kernel, SQLite, what environment.yml asks for, what the lock pins."""
    return [_kernel(), *_sqlite(), *_asked(root / "environment.yml"), *_asked(root / "requirements.lock")]


def _kernel() -> Finding:
    """The kernel that notebooks are run with must be the Python that this is."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

        python = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except ImportError:
        python = "jupyter_client is not installed"
    except NoSuchKernel:
        python = "none: install ipykernel"
    return Finding("kernel python3", sys.executable, python, python in (sys.executable, "python", "python3"))


def _sqlite() -> Iterator[Finding]:
    """A database is made: that needs STRICT tables, foreign keys and a write-ahead log."""
    try:
        with tempfile.TemporaryDirectory(prefix="foundation-") as scratch, Store(Path(scratch) / "x.db") as store:
            sql = "SELECT sqlite_version(), strict, foreign_keys FROM pragma_table_list, pragma_foreign_keys"
            running, strict, keys = store.execute(f"{sql} WHERE name = '_runs'").fetchone()
    except StoreError as error:
        yield Finding("SQLite", str(_SQLITE), str(error), False)
        return
    yield Finding("SQLite", str(_SQLITE), running, _SQLITE.contains(running))
    yield Finding("SQLite: STRICT tables", "yes", "yes" if strict else "no", bool(strict))
    yield Finding("SQLite: foreign keys", "yes", "yes" if keys else "no", bool(keys))


def _asked(path: Path) -> Iterator[Finding]:
    """What a file asks for of this machine, with its versions; names alone ask for any."""
    if not path.is_file():
        missing = f"not in {path.parent}: it is part of a checkout, not of an installed package; run from a checkout"
        yield Finding(path.name, "the file", missing, False)
        return
    # Each line that asks for a package: of a list in YAML, or of a lock, where hashes follow.
    for line in re.findall(r"^(?:[ \t]*- )?(\w[^#\\\n]*)", path.read_text("utf-8"), re.MULTILINE):
        try:
            wanted = Requirement(line.strip())
        except InvalidRequirement:  # `name: foundation`, or a path
            continue
        if wanted.specifier and (wanted.marker is None or wanted.marker.evaluate()):
            installed = _installed(wanted.name)
            is_well = bool(installed) and wanted.specifier.contains(installed, prereleases=True)
            yield Finding(f"{wanted.name} ({path.name})", str(wanted.specifier), installed or "none", is_well)


def _installed(name: str) -> str:
    if name == "python":
        return platform.python_version().rstrip("+")  # of a build between two versions
    try:
        return version(_CONDA.get(name, name))
    except PackageNotFoundError:
        return ""
