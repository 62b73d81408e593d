"""A run is made when something has changed, and says what; else the last one is pointed to."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from foundation.cli import main
from foundation.report.provenance.freshness import up_to_date
from foundation.report.provenance.inputs import current_inputs
from foundation.report.provenance.reproduce import verify
from foundation.report.result import Report, ReportRun
from foundation.report.target import SQLiteTarget
from foundation.schema.record import load_sources

ROOT = Path(__file__).parents[2]
MINE = """
from foundation import Record
class Item(Record, table="items", key="item", references={"part_of": "items"}, files="items/*.csv"):
    "One."
    item: int
    name: str
    part_of: int | None = None
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a delivery of one source, which refers to itself, in two files, a database, and one run."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "data/items").mkdir(parents=True)
    (folder / "mine.py").write_text(MINE)
    (folder / "data/items/1.csv").write_bytes(b"item,name,part_of\n1,a,\n2,b,1\nx,c,\n")
    (folder / "data/items/2.csv.gz").write_bytes(gzip.compress(b"item,name,part_of\n3,d,2\n"))
    assert report(folder) == 0
    return folder


def report(home: Path, *more: str) -> int:
    paths = [str(home / "data"), "--db", str(home / "x.db"), "--out", str(home / "out")]
    return main(["report", *paths, "--sources", str(home / "mine.py"), *more])


def runs(home: Path) -> list[str]:
    return sorted(path.parent.name for path in (home / "out").glob("*/index.html"))


def asked(home: Path, **changed: object) -> Report | str:
    """What is decided, with the parameters of the command line but those *changed*."""
    parameters = {
        "data": str(home / "data"), "db": str(home / "x.db"), "wait_s": 600, "chunk_size": 1_000,
        "memory_limit": "500000000", "again": False, "range_size": "", "sources": str(home / "mine.py"),
    }  # fmt: skip
    sources = load_sources(home / "mine.py")
    notebooks = {name: ROOT / f"notebooks/{name}.ipynb" for name in ("01_ingest", "02_overview")}
    run = ReportRun(home / "data", SQLiteTarget(home / "x.db"), sources, sources, notebooks, parameters | changed)
    return up_to_date(home / "out", run, current_inputs(run))


def test_notebooks_about_other_sources_are_not_run(home):
    pages = json.loads((home / "out" / runs(home)[0] / "run.json").read_text("utf-8"))["pages"]

    assert [(page["name"], page["source"]) for page in pages] == [("01_ingest", "items"), ("02_overview", "")]


def test_the_same_again_points_to_the_run_that_stands(home, capsys):
    before = runs(home)

    assert report(home) == 0

    said = capsys.readouterr()
    assert runs(home) == before
    assert f"nothing has changed since run {before[-1]}" in said.err
    assert "--again" in said.err
    assert f"{before[-1]}/index.html" in said.out
    assert "records stored" in said.out


def test_the_status_is_that_of_the_run_that_stands(home):
    assert report(home, "--max-rejects", "0") == 1


def test_nothing_is_changed_by_asking(home):
    assert isinstance(asked(home), Report)
    assert isinstance(asked(home, again=True), Report)


@pytest.mark.parametrize("name", ["data/items/1.csv", "mine.py"])
def test_another_byte_of_the_input_is_a_reason(home, name):
    path = home / name
    before = path.read_bytes()
    path.write_bytes(before + b" ")

    why = asked(home)

    path.write_bytes(before)
    assert f"input {name.removeprefix('data/')} changed since run {runs(home)[0]}" in why


def test_another_parameter_is_a_reason(home):
    assert "parameter chunk_size changed" in asked(home, chunk_size=7)


def test_another_database_is_a_reason(home):
    assert "there is none yet of this delivery into this database" in asked(home, db=str(home / "y.db"))


def test_a_database_that_holds_something_else_is_a_reason(home):
    with closing(sqlite3.connect(home / "x.db", isolation_level=None)) as connection:
        connection.execute("UPDATE items SET name = name || 'x' WHERE item = 1")
        why = asked(home)
        connection.execute("UPDATE items SET name = rtrim(name, 'x') WHERE item = 1")

    assert "the database does not hold what run" in why
    assert "content items changed" in why
    assert isinstance(asked(home), Report)


def test_a_page_that_is_lost_is_a_reason(home):
    page = home / "out" / runs(home)[0] / "02_overview.html"
    before = page.read_bytes()
    page.unlink()

    why = asked(home)

    page.write_bytes(before)
    assert "02_overview.html is gone" in why


def test_a_run_that_did_not_come_to_its_end_is_a_reason(home):
    path = home / "out" / runs(home)[0] / "run.json"
    before = path.read_text("utf-8")
    facts = json.loads(before)
    facts["pages"][1]["failure"] = "ValueError: in the middle"
    whys = []

    for changed in ({"status": "stopped"}, {"pages": facts["pages"]}):
        path.write_text(json.dumps(json.loads(before) | changed), "utf-8")
        whys.append(asked(home))

    path.write_text(before, "utf-8")
    assert whys == [f"run {runs(home)[0]} did not come to its end"] * 2


def test_a_run_of_own_sources_and_packed_files_can_be_verified(home):
    assert verify(home / "out" / runs(home)[0], sources=()) == []


def test_it_is_made_again_when_it_is_asked_for(home, capsys):
    before = runs(home)

    assert report(home, "--again") == 0

    assert len(runs(home)) == len(before) + 1
    assert "it was asked for" in capsys.readouterr().err
