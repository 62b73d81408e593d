"""A run is made when something has changed, and says what; else the last one is pointed to."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from foundation.cli import main
from foundation.delivery.sample import write_sample
from foundation.delivery.sources import SOURCES
from foundation.report.provenance.freshness import basis_of, unchanged
from foundation.report.result import Report

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a delivery, a database, and one run."""
    folder = tmp_path_factory.mktemp("again")
    write_sample(folder / "data", orders=30, faults=0.1, seed=3)
    assert report(folder) == 0
    return folder


def report(home: Path, *more: str) -> int:
    paths = [str(home / "data"), "--db", str(home / "x.db"), "--out", str(home / "out")]
    return main(["report", *paths, *more])


def runs(home: Path) -> list[str]:
    return sorted(path.parent.name for path in (home / "out").glob("*/index.html"))


def asked(home: Path, **changed: object) -> Report | str:
    """What is decided, with the parameters of the command line but those *changed*."""
    given = {
        "data": str(home / "data"), "db": str(home / "x.db"), "wait_s": 600, "chunk_size": 1_000,
        "memory_limit": "500000000", "again": False, "range_size": "", "sources": "",
    }  # fmt: skip
    notebooks = [ROOT / f"notebooks/{name}.ipynb" for name in ("01_ingest", "02_overview", "03_explore")]
    basis = basis_of(home / "data", SOURCES, notebooks, given | changed, sqlite3.sqlite_version)
    return unchanged(home / "out", home / "x.db", basis)


def test_the_same_again_points_to_the_run_that_stands(home, capsys):
    before = runs(home)

    assert report(home) == 0

    said = capsys.readouterr()
    assert runs(home) == before
    assert f"nothing has changed since run {before[-1]}" in said.err
    assert "--again" in said.err
    assert f"{before[-1]}/index.html" in said.out
    assert "records stored" in said.out


def test_the_status_is_that_of_the_run_that_stands(home, capsys):
    assert report(home, "--max-rejects", "0") == 1


def test_nothing_is_changed_by_asking(home):
    assert isinstance(asked(home), Report)
    assert isinstance(asked(home, again=True), Report)


def test_another_byte_of_the_input_is_a_reason(home):
    path = home / "data" / "clients.csv"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"a", b"b", 1))

    why = asked(home)

    path.write_bytes(before)
    assert f"input clients.csv changed since run {runs(home)[0]}" in why


def test_another_parameter_is_a_reason(home):
    assert "parameter chunk_size changed" in asked(home, chunk_size=7)


def test_another_database_is_a_reason(home):
    assert "there is none yet of this delivery into this database" in asked(home, db=str(home / "y.db"))


def test_a_database_that_holds_something_else_is_a_reason(home):
    with closing(sqlite3.connect(home / "x.db", isolation_level=None)) as connection:
        connection.execute("UPDATE clients SET city = city || 'x' WHERE client_id = 1")
        why = asked(home)
        connection.execute("UPDATE clients SET city = rtrim(city, 'x') WHERE client_id = 1")

    assert "the database does not hold what run" in why
    assert "content clients changed" in why
    assert isinstance(asked(home), Report)


def test_a_page_that_is_lost_is_a_reason(home):
    page = home / "out" / runs(home)[0] / "02_overview.html"
    before = page.read_bytes()
    page.unlink()

    why = asked(home)

    page.write_bytes(before)
    assert "02_overview.html is gone" in why


def test_it_is_made_again_when_it_is_asked_for(home, capsys):
    before = runs(home)

    assert report(home, "--again") == 0

    assert len(runs(home)) == len(before) + 1
    assert "it was asked for" in capsys.readouterr().err
