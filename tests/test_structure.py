"""The house: rooms in the order of the data, imports that go down only, and one technology a room."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import foundation

PACKAGE = Path(foundation.__file__).parent
FLOORS = [
    {"errors"},
    {"memory", "display"},
    {"reader"},
    {"schema"},
    {"delivery", "store"},
    {"pipeline", "query", "infer"},
    {"stats"},
    {"lake"},
    {"report"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TOP = {"__init__", "__main__"}
UPWARD = {  # still to be decoupled
    "pipeline.corrections": {"query"},
}
ONE_TECHNOLOGY = {
    "sqlite3": {"store", "query", "stats"},
    "pydantic": {"schema", "delivery", "memory"},  # memory: ByteSize, and no more
    "packaging": {"cli.doctor"},
    "csv": {"reader.csv_writer"},
    "gzip": {"reader.compression"},
    "backports": {"reader.compression"},
    "papermill": {"report"},
    "nbconvert": {"report"},
    "psutil": {"memory"},
    "pyarrow": {"query.export", "lake"},
    "dask": {"lake"},
    "distributed": {"lake"},
    "duckdb": {"lake"},
    "fsspec": {"lake"},
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


def room_of(module: str) -> str:
    return module.split(".")[0]


def test_every_module_is_in_a_room():
    assert {room_of(module) for module in modules()} == FLOOR.keys() | TOP


@pytest.mark.parametrize("module", sorted(modules().keys() - TOP))
def test_imports_go_to_lower_rooms_only(module):
    room = room_of(module)
    inside = {room_of(name.removeprefix("foundation.")) for name in modules()[module] if name.startswith("foundation.")}

    upward = {other for other in inside & FLOOR.keys() if other != room and FLOOR[other] >= FLOOR[room]}

    assert upward == UPWARD.get(module, set())


@pytest.mark.parametrize("technology", ONE_TECHNOLOGY)
def test_a_technology_is_met_where_it_belongs(technology):
    met = {
        module
        for module, imports in modules().items()
        if any(name == technology or name.startswith(technology + ".") for name in imports)
    }

    assert {module for module in met if not {module, room_of(module)} & ONE_TECHNOLOGY[technology]} == set()


def test_the_public_names_are_listed_once_and_in_order():
    names = foundation.__all__

    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: (name[0].islower(), not name.isupper(), name))
    assert all(hasattr(foundation, name) for name in names)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, foundation.cli; print(*sys.modules)"

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
