"""Hostile texts in every column: kept byte for byte, and nothing of them runs in any output."""

import csv
import io
import json
import shutil
import unicodedata
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import foundation
from foundation.cli import main
from foundation.reader.csv_writer import unguard
from tests.support.deliveries import SOUND
from tests.support.hostile import FOLDER, HOSTILE, REFUSING, SOURCES, TEXTS, write_hostile
from tests.support.inspection import query

pytestmark = pytest.mark.slow
WITH_TEXT = [name for name, columns in TEXTS.items() if columns]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder of a hostile name with the delivery, `data`, and the database it was loaded into, `x.db`."""
    home = tmp_path_factory.mktemp("hostile") / FOLDER
    assert main(["ingest", str(write_hostile(home / "data")), "--db", str(home / "x.db")]) == 0
    return home


@pytest.fixture(scope="module")
def db(home) -> Path:
    return home / "x.db"


def said(*arguments: object, wanted: Sequence[int] = (0, 1)) -> str:
    """All that a verb prints; *wanted* are the statuses that it may have."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        assert main([str(argument) for argument in arguments]) in wanted
    return out.getvalue()


def unseen(text: str) -> set[str]:
    """Characters that a terminal would act on or not show; line ends are none of them."""
    return {c for c in text if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp")} - {"\n"}


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def is_run(cell: str) -> bool:
    """Whether a spreadsheet takes a cell for a formula."""
    is_number = cell[:1] in "+-" and cell[1:].replace(".", "", 1).isdecimal()
    return cell.startswith(tuple("=+-@\t\r\n")) and not is_number


@pytest.mark.parametrize("name", WITH_TEXT)
def test_every_text_is_stored_character_for_character(db, name):
    rows = query(db, f"SELECT {', '.join([SOURCES[name].key, *TEXTS[name]])} FROM {name} ORDER BY 1")

    assert rows == [(key, *[text] * len(TEXTS[name])) for key, text in enumerate(HOSTILE, 1)]


@pytest.mark.parametrize("name", WITH_TEXT)
def test_frames_and_json_give_every_text_back(db, name):
    expected = [[text] * len(TEXTS[name]) for text in HOSTILE]
    with foundation.open(db) as database:
        frame = database[name].select(*TEXTS[name]).order_by(SOURCES[name].key).frame()

    told = json.loads(said("page", name, "--db", db, "--size", 1_000, "--format", "json"))

    assert frame.to_numpy().tolist() == expected
    assert [[row[column] for column in TEXTS[name]] for row in told["rows"]] == expected


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_text_can_be_looked_for(db, text):
    with foundation.open(db) as database:
        assert [row["client_id"] for row in database["clients"].where(city=text).page().records()] == [
            HOSTILE.index(text) + 1
        ]


@pytest.mark.parametrize("name", SOURCES)
def test_a_refused_text_stands_beside_the_reason(db, name):
    sql = """
        SELECT value, count(DISTINCT "column") FROM _errors JOIN _rejects USING (reject_id) WHERE source = ? GROUP BY 1
    """

    found = dict(query(db, sql, name))

    wanted = {text[:1_000]: len(REFUSING[name]) for text in HOSTILE}
    assert found == wanted | {"007": wanted["007"] - 1}  # it is a legal key


def test_a_hostile_delivery_leaves_the_database_sound(db):
    assert query(db, "PRAGMA integrity_check") == ["ok"]
    assert query(db, "PRAGMA foreign_key_check") == []
    assert query(db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_*'") == [8]


def test_a_load_shows_no_control_character(home, tmp_path):
    assert unseen(said("ingest", home / "data", "--db", tmp_path / "y.db")) == set()
    assert unseen(said("check", home / "data")) == set()


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("name", SOURCES)
def test_a_page_shows_no_control_character(db, name, form):
    assert unseen(said("page", name, "--db", db, "--size", 1_000, "--format", form)) == set()


@pytest.mark.parametrize("verb", [["stats"], ["stats", "--json"], ["rejects"], ["rejects", "--format", "jsonl"]])
def test_a_list_shows_no_control_character(db, verb):
    assert unseen(said(*verb, "--db", db)) == set()


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_where_a_row_came_from_shows_no_control_character(db, form):
    for key in range(1, len(HOSTILE) + 1, 2):
        assert unseen(said("explain", "feedback", "--db", db, *form, key)) == set()


def test_what_cannot_be_done_shows_no_control_character(home, db):
    for text in HOSTILE:
        assert unseen(said("page", "--db", db, "--", text, wanted=[2])) == set()
        assert unseen(said("page", "orders", "--db", db, f"--where={text}", wanted=[2])) == set()
        assert unseen(said("page", "orders", "--db", db, f"--after={text}", wanted=[2])) == set()
        assert unseen(said("explain", "--db", db, "--", "orders", text, wanted=[0, 2])) == set()
    assert unseen(said("stats", "--db", home / "none", wanted=[2])) == set()


@pytest.mark.parametrize("name", SOURCES)
def test_no_cell_of_a_page_runs_in_a_spreadsheet(db, name):
    rows = cells(said("page", name, "--db", db, "--size", 1_000, "--format", "csv"))

    assert len(rows) == len(HOSTILE) + 1
    assert [cell for row in rows for cell in row if is_run(cell)] == []


def test_no_cell_of_the_rejects_runs_in_a_spreadsheet(db):
    rows = cells(said("rejects", "--db", db, "--format", "csv"))

    assert len(rows) > 8 * len(HOSTILE)
    assert [cell for row in rows for cell in row if is_run(cell)] == []


def test_no_cell_of_an_export_runs_in_a_spreadsheet(db, tmp_path):
    said("rejects", "--db", db, "--export", tmp_path)

    for name in SOURCES:
        rows = cells((tmp_path / f"{name}.csv").read_bytes().decode())
        assert len(rows) == len(HOSTILE) + 1
        assert [cell for row in rows for cell in row if is_run(cell)] == []


def test_a_repair_changes_nothing_but_what_was_corrected(db, tmp_path):
    shutil.copy(db, tmp_path / "x.db")
    said("rejects", "--db", db, "--export", tmp_path)
    for name in SOURCES:
        correct(tmp_path / f"{name}.csv", name)

    said("repair", tmp_path, "--db", tmp_path / "x.db")

    assert query(tmp_path / "x.db", "SELECT DISTINCT status FROM _rejects") == ["repaired"]
    for name in WITH_TEXT:
        columns = ", ".join(TEXTS[name])
        rows = query(tmp_path / "x.db", f"SELECT {columns} FROM {name} WHERE {SOURCES[name].key} > 1000")
        assert sorted(rows) == sorted(query(db, f"SELECT {columns} FROM {name}"))


def correct(path: Path, name: str) -> None:
    """Put sound values where there were bad ones, and new keys."""
    with path.open(encoding="utf-8", newline="") as file:
        columns, *rows = csv.reader(file)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for key, row in enumerate(rows, 1_001):
            sound = {column: SOUND[name][column] for column in REFUSING[name]} | {SOURCES[name].key: key}
            writer.writerow((dict(zip(columns, row, strict=True)) | sound).values())


def test_the_apostrophe_of_a_guarded_text_is_the_only_change(db):
    rows = cells(said("page", "clients", "--db", db, "--size", 1_000, "--format", "csv", "--columns", "city"))

    for (cell,), text in zip(rows[1:], HOSTILE, strict=True):
        assert cell in (text, f"'{text}")
        assert text in (cell, unguard(cell))
