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
ONE_TECHNOLOGY = {
    "sqlite3": {"store", "query"},
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

# Rooms whose modules are imported one by one, where they are used: by themselves they are heavy, or seldom wanted.
APART = {"delivery", "lake", "report"}


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

    assert upward == set()


@pytest.mark.parametrize("module", sorted(modules()))
def test_what_other_rooms_import_is_named_by_the_room(module):
    names = (name.split(".")[1:] for name in modules()[module] if name.startswith("foundation."))

    past_the_door = {".".join(name) for name in names if len(name) > 2 and name[0] != room_of(module)}

    assert {name for name in past_the_door if room_of(name) not in APART} == set()


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


def test_the_framework_does_not_import_its_example():
    users = {module for module, imports in modules().items() if "foundation.delivery" in imports}
    users |= {module for module in modules() if any(n.startswith("foundation.delivery.") for n in modules()[module])}

    assert {room_of(module) for module in users} <= {"__init__", "cli", "delivery"}


def test_the_package_can_be_taken_in_at_a_glance():
    entries = {path.name for path in PACKAGE.iterdir()} - {"__pycache__", "py.typed"}

    assert len(entries) <= 17


def test_no_module_has_more_than_350_lines_and_no_function_more_than_40():
    too_long = set()
    for path in PACKAGE.rglob("*.py"):
        text, module = path.read_text("utf-8"), ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        too_long |= {f"{module}.{f.name}" for f in functions if (f.end_lineno or 0) - f.lineno >= 40}
        too_long |= {module} if text.count("\n") > 350 else set()

    assert too_long == set()


def loaded(code: str) -> set[str]:
    """The packages, those of the standard library aside, that another process has loaded after some statements."""
    code = f"import contextlib, sys\nwith contextlib.suppress(SystemExit):\n    {code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    return {name for name in names - sys.stdlib_module_names if not name.startswith("_")}


@pytest.mark.parametrize(
    "code", ["import foundation", "from foundation.cli import main; main(['--help'])"], ids=["import", "--help"]
)
def test_to_import_the_package_or_to_ask_for_help_loads_pydantic_alone(code):
    light = {"foundation", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
    light.add("backports")  # zstd, before Python 3.14

    assert loaded(code) - light == set()
