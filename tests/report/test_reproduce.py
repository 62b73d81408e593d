"""A run is repeated elsewhere: identical, or what differs is named. In a copy of the project that can be changed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import foundation
from foundation.delivery.sample import write_sample
from foundation.report.html import without_measured
from foundation.report.provenance.crate import NAME
from foundation.report.provenance.reproduce import verify
from foundation.report.run import make_report
from foundation.report.target import SQLiteTarget

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with a delivery in it."""
    home = tmp_path_factory.mktemp("project")
    for name in ("foundation", "notebooks"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_sample(home / "delivery", orders=30, faults=0.1, seed=3)
    return home


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "foundation", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def made(project) -> Path:
    """The folder of a run of that project, of two of its sources."""
    done = run(
        project, "report", "delivery", "--db", "x.db", "--out", "out", "--source", "clients", "--source", "drivers"
    )
    assert done.returncode == 0, done.stderr
    return next(path.parent for path in (project / "out").glob("*/index.html"))


def differences(project: Path, made: Path) -> set[tuple[str, str]]:
    """What `verify` names, by kind and place."""
    done = run(project, "verify", str(made), "--json")
    told = json.loads(done.stdout)
    assert done.returncode == (1 if told["differences"] else 0)
    assert told["status"] == ("different" if told["differences"] else "identical")
    return {(difference["kind"], difference["where"]) for difference in told["differences"]}


@pytest.fixture
def changed(request) -> Iterator[dict[Path, bytes]]:
    """Files put in here are written back as they were."""
    kept: dict[Path, bytes] = {}
    yield kept
    for path, before in kept.items():
        path.write_bytes(before)


def change(changed: dict[Path, bytes], path: Path, sound: str, other: str) -> None:
    changed[path] = path.read_bytes()
    assert sound.encode() in changed[path]
    path.write_bytes(changed[path].replace(sound.encode(), other.encode(), 1))


def test_the_same_again_is_identical(project, made):
    done = run(project, "verify", str(made))

    assert done.returncode == 0, done.stdout
    assert "identical, in content, values, cells and pages" in done.stdout


def test_one_byte_of_an_input_is_named_with_the_table_the_cell_and_the_page(project, made, changed):
    path = project / "delivery" / "clients.csv"
    (name,) = foundation.open(project / "x.db")["clients"].select("client_name").page(1).rows[0]
    change(changed, path, name, name[:-1] + "~")

    found = differences(project, made)

    assert {("input", "clients.csv"), ("content", "clients"), ("load", "clients.sha256")} <= found
    assert ("page", "01_ingest_clients.html") in found
    assert {where.split(",")[0] for kind, where in found if kind == "cell"} == {
        "01_ingest_clients cell 21 (code-30)",
        "02_overview cell 18 (code-26)",
        "03_explore cell 50 (code-70)",
    }
    assert not [where for kind, where in found if kind == "content" and where != "clients"]


def test_one_line_of_a_notebook_and_one_version_are_named(project, made, changed):
    change(changed, project / "notebooks" / "02_overview.ipynb", "Table(law, limit=50)", "Table(law, limit=3)")
    version = json.loads((made / NAME).read_text("utf-8"))
    (pandas,) = [entity for entity in version["@graph"] if entity["@id"] == "#version/pandas"]
    change(changed, made / NAME, f'"softwareVersion": "{pandas["softwareVersion"]}"', '"softwareVersion": "0.1"')

    done = run(project, "verify", str(made))

    assert done.returncode == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f"version pandas 0.1 {pandas['softwareVersion']}" in lines
    assert [line for line in lines if line.startswith("notebook 02_overview ")]
    assert [line for line in lines if re.match(r"cell 02_overview cell \d+ \(code-09\), code", line)]
    assert [line for line in lines if line.startswith("page 02_overview.html")]
    assert not [line for line in lines if line.startswith(("content", "input", "load", "page 01", "page index"))]


@pytest.mark.soak
def test_a_page_that_somebody_has_changed_is_named(project, made, changed):
    change(changed, made / "01_ingest_clients.html", "What was refused", "Nothing was refused")

    found = differences(project, made)

    assert found == {("file", "01_ingest_clients.html"), ("page", "01_ingest_clients.html")}


def test_what_cannot_be_repeated_is_told(project, made, tmp_path):
    (project / "delivery").rename(project / "moved")
    gone = run(project, "verify", str(made))
    (project / "moved").rename(project / "delivery")
    none = run(project, "verify", str(tmp_path))

    assert (gone.returncode, none.returncode) == (2, 2)
    assert "clients.csv, " in gone.stderr
    assert "--data" in gone.stderr
    assert "name the folder of a run" in none.stderr
    assert "Traceback" not in gone.stderr + none.stderr


def test_a_run_into_a_database_that_held_something_cannot_be_repeated(made, tmp_path):
    (tmp_path / NAME).write_text((made / NAME).read_text("utf-8").replace(_before(0), _before(8)))

    with pytest.raises(foundation.ReportError, match="had seen 8 loads"):
        verify(tmp_path, sources=foundation.SOURCES)


def _before(loads: int) -> str:
    return f'"name": "loads that the database had seen before",\n   "value": {loads}'


@pytest.mark.soak
def test_two_runs_give_the_same_bytes_but_for_what_is_measured(tmp_path):
    write_sample(tmp_path / "data", orders=30, faults=0.1, seed=3)
    pages: list[dict[str, str]] = []
    for name in ("one", "two"):
        parameters = {"chunk_size": 10, "memory_limit": "500MB", "again": False, "sources": ""}
        report = make_report(
            tmp_path / "data", SQLiteTarget(tmp_path / "x.db"), tmp_path / name, sources=foundation.SOURCES, only=[],
            parameters=parameters, run_id="run",
        )  # fmt: skip
        pages.append({path.name: path.read_text("utf-8") for path in report.folder.glob("*.html")})
        for path in tmp_path.glob("x.db*"):
            path.unlink()

    one, two = pages

    assert len(one) == 11
    assert {name: without_measured(page) for name, page in one.items()} == {
        name: without_measured(page) for name, page in two.items()
    }
    measured = {name: re.findall(r"<!--measured-->", page) for name, page in one.items()}
    assert {name: len(found) for name, found in measured.items()} == {
        name: {"01": 5, "02": 4, "03": 2, "in": 10}[name[:2]] for name in one
    }


KILLED = """\
import os, time
if source == "clients":
    raise ValueError("in the middle")
if source == "drivers":
    os.kill(os.getpid(), 9)
if source == "warehouses":
    time.sleep(600)
"""


def test_whatever_happens_to_a_notebook_is_told_everywhere_and_the_others_stand(project, tmp_path, changed):
    path = project / "notebooks" / "01_ingest.ipynb"
    changed[path] = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(4, nbformat.v4.new_code_cell(KILLED, id="ends"))
    nbformat.write(notebook, path)
    sources = ["--source", "clients", "--source", "drivers", "--source", "warehouses", "--source", "orders"]
    paths = ["delivery", "--db", str(tmp_path / "x.db"), "--out", str(tmp_path / "out")]

    done = run(project, "report", *paths, *sources, "--cell-timeout", "5")

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = [path.parent for path in (tmp_path / "out").glob("*/index.html")]
    crate = {entity["@id"]: entity for entity in json.loads((folder / NAME).read_text("utf-8"))["@graph"]}
    index = (folder / "index.html").read_text("utf-8")
    said = {"clients": "ValueError: in the middle", "drivers": "signal 9, SIGKILL", "warehouses": "longer than 5 s"}
    for source, why in said.items():
        action = crate[f"#{folder.name}/01_ingest_{source}"]
        assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
        assert why in action["error"]
        assert why in index
        assert why in (folder / f"01_ingest_{source}.html").read_text("utf-8")
    assert crate[f"#{folder.name}"]["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert crate[f"#{folder.name}/01_ingest_orders"]["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert "records of orders are stored" in (folder / "01_ingest_orders.html").read_text("utf-8")
    assert json.loads((folder / "run.json").read_text("utf-8"))["status"] == "failed"
