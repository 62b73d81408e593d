"""The house: public names, and imports that go down only."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import foundation

PACKAGE = Path(foundation.__file__).parent
LEVELS = [
    {"errors", "memory", "profile", "cache", "report.cells"},
    {"formats", "grammar"},
    {"source", "hints", "lock", "spreadsheet", "scan", "display", "scheduler"},
    {"delivery", "lines", "files"},
    {"read"},
    {"shortcut", "sample"},
    {"validate"},
    {"store", "seek", "pages"},
    {"parents"},
    {"put", "ledger", "ahead", "options", "relation", "paging", "survey", "ranges"},
    {"repair", "parts", "views"},
    {"ingest", "query", "migrate", "joins"},
    {"describe", "drift", "lake", "cluster"},
    {"stats", "terminal", "corrections", "explain", "proposal", "export"},
    {"report.show", "report.client", "report.page", "report.basis", "draft"},
    {"report.engine", "report.kernels", "report.manifest"},
    {"report.result"},
    {"report.again", "report.indexes", "report.into"},
    {"report.run"},
    {"report.verify", "doctor"},
    {"__init__", "__main__", "report.__init__"},
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
ONE_TECHNOLOGY = {
    "sqlite3": {"store", "put", "ledger", "query", "relation", "stats"},
    "pydantic": {"source", "validate", "delivery"},
    "csv": {"spreadsheet"},
    "gzip": {"files"},
    "backports": {"files"},
    "papermill": {"report.engine", "report.client"},
    "nbconvert": {"report.page"},
    "psutil": {"memory"},
    "pyarrow": {"export", "parts", "joins"},
    "dask": {"cluster", "joins", "lake", "scheduler"},
    "distributed": {"cluster", "scheduler"},
    "duckdb": {"lake"},
    "fsspec": {"ranges", "parts", "joins", "lake", "cluster"},
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@cache
def modules() -> dict[str, set[str]]:
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): imports_of(path) for path in PACKAGE.rglob("*.py")
    }


def test_every_module_has_its_level():
    assert set(modules()) == set(LEVEL)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_to_a_lower_level_only(module):
    inside = {name.removeprefix("foundation.") for name in modules()[module] if name.startswith("foundation.")}

    upward = {name for name in inside & set(LEVEL) if LEVEL[name] >= LEVEL[module]}

    assert not upward


@pytest.mark.parametrize("technology", ONE_TECHNOLOGY)
def test_a_technology_is_met_where_it_belongs(technology):
    met = {
        module
        for module, imports in modules().items()
        if any(name == technology or name.startswith(technology + ".") for name in imports)
    }

    assert met <= ONE_TECHNOLOGY[technology]


def test_the_public_names_are_listed_once_and_in_order():
    names = foundation.__all__

    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (name[0].islower(), not name.isupper(), name))
    assert all(hasattr(foundation, name) for name in names)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, foundation.__main__; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {
        "pandas",
        "numpy",
        "matplotlib",
        "papermill",
        "nbconvert",
        "dask",
        "distributed",
        "duckdb",
        "fsspec",
        "pyarrow",
    } & set(loaded)
