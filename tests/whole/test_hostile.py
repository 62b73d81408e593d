"""Hostile texts in every column: kept byte for byte, and nothing of them runs in any output."""

import csv
import io
import json
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from decimal import Decimal
from pathlib import Path

import nbformat
import numpy
import pytest
from bs4 import BeautifulSoup

import foundation
from foundation.cli import main
from foundation.errors import ReportError, visible
from foundation.reader.csv_writer import unguard
from foundation.report.html import make_page
from foundation.report.notebook import run_notebook
from tests.support.deliveries import SOUND
from tests.support.hostile import FOLDER, HOSTILE, REFUSING, SOURCES, TEXTS, require_harmless, write_hostile
from tests.support.inspection import query
from tests.support.processes import chromium

WITH_TEXT = [name for name, columns in TEXTS.items() if columns]
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--dump-dom",
]  # fmt: skip


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


def write_notebook(path: Path, cells: list[nbformat.NotebookNode]) -> None:
    kernel = {"name": "python3", "display_name": "Python", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Path:
    """A folder with a notebook that got every text as a parameter and shows them in every way, and its page."""
    folder = tmp_path_factory.mktemp("shown") / FOLDER
    folder.mkdir()
    names = [f"t{i}" for i in range(len(HOSTILE))]
    cells = [
        nbformat.v4.new_code_cell("\n".join(f"{name} = ''" for name in names), metadata={"tags": ["parameters"]}),
        *map(
            nbformat.v4.new_code_cell,
            (
                f"import json; texts = [{', '.join(names)}]; json.dump(texts, open('got.json', 'w'))",
                "from foundation.report.widgets import Answer, Note, Plot, Table; import pandas",
                "Table({'text': texts}, limit=1_000)",
                "pandas.DataFrame({'text': texts, texts[9]: 1}, index=texts)",
                "print(*texts)",
                "Answer(' '.join(texts))",
                "plot = Plot(texts[12]); plot.axes.barh(texts, 1); plot.axes.set(title=texts[9]); plot",
                "raise ValueError(texts[9])",
            ),
        ),
    ]
    write_notebook(folder / "n.ipynb", cells)
    failure = run_notebook(folder / "n.ipynb", folder / "out.ipynb", dict(zip(names, HOSTILE, strict=True)))
    make_page(folder / "out.ipynb", folder / "p.html", run_id=HOSTILE[9], name=HOSTILE[9], failure=failure)
    assert failure.startswith(f"ValueError: {HOSTILE[9]}")
    return folder


def test_a_notebook_gets_every_text_as_it_is(shown):
    assert json.loads((shown / "got.json").read_text("utf-8")) == HOSTILE


@pytest.mark.parametrize(
    "value",
    [Path('a"; x = 1 #'), ('"; x = 1 #',), ["a"], {"a": 1}, {"a"}, b"a", None, Decimal(1), numpy.int64(1),
     date(2025, 1, 1), object()],
)  # fmt: skip
def test_a_parameter_that_is_not_plain_is_refused(shown, tmp_path, value):
    with pytest.raises(ReportError, match=r"t0: .* cannot be a parameter of a notebook"):
        run_notebook(shown / "n.ipynb", tmp_path / "out.ipynb", {"t0": value})

    assert not (tmp_path / "out.ipynb").exists()


def test_a_parameter_that_the_notebook_does_not_declare_is_left_out(tmp_path):
    cells = [nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell("x")]
    write_notebook(tmp_path / "n.ipynb", cells)

    assert run_notebook(tmp_path / "n.ipynb", tmp_path / "out.ipynb", {"x=2;y": 1, "1/0 #": "a", "x": 5}) is None

    ran = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert "y" not in "".join(cell.source for cell in ran.cells)
    assert ran.cells[-1].outputs[0].data["text/plain"] == "5"


def in_browser(page: Path, profile: Path) -> BeautifulSoup:
    """The page as it is after Chromium has opened it, with whatever ran in it."""
    done = subprocess.run(
        [chromium(), *CHROMIUM, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True, timeout=120, check=True, env=os.environ | {"HOME": str(profile)},
    )  # fmt: skip
    return BeautifulSoup(done.stdout.decode(), "html.parser")


def test_every_text_is_visible_in_the_page_of_a_notebook_and_none_runs(shown, tmp_path):
    page = in_browser(shown / "p.html", tmp_path)

    require_harmless(page)
    told = [cell.get_text() for cell in page.find("table").select("tbody td")]
    assert told == [visible(text, 300) for text in HOSTILE]


def test_a_browser_does_run_what_is_not_escaped(tmp_path):
    # Without those that leave the page: a browser on its way elsewhere has nothing to show.
    told = "".join(text for text in HOSTILE if "127.0.0.1" not in text)
    (tmp_path / "p.html").write_text(f"<main>{told}</main>", encoding="utf-8")

    page = in_browser(tmp_path / "p.html", tmp_path / "profile")

    assert page.find_all(id="pwned")
    with pytest.raises(AssertionError):
        require_harmless(page)
