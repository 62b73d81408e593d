"""A folder of Parquet read back, held against a database of the same delivery."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import foundation
from foundation.cli import main
from foundation.query.lineage import explain
from foundation.stats.overview import checks_of, describe, loads, reasons, references, rejects
from tests.support import loading
from tests.support.deliveries import append
from tests.support.documents import run_python, run_shell

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from distributed import Client

from foundation.lake import load
from foundation.lake.manifest import MANIFEST

ROOT = Path(__file__).parents[2]
ingest = partial(load.ingest, sources=foundation.SOURCES)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
        yield client


@pytest.fixture(scope="module")
def places(client: Client, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sample as a database and as a folder."""
    folder = tmp_path_factory.mktemp("places")
    loading.ingest(ROOT / "data/sample", folder / "sample.db")
    ingest(ROOT / "data/sample", folder / "lake", client=client, range_size=9_000)
    return folder / "sample.db", folder / "lake"


@pytest.fixture
def both(places: tuple[Path, Path]) -> Iterator[tuple[foundation.Database, foundation.Database]]:
    with foundation.open(places[0]) as database, foundation.open(places[1]) as lake:
        yield database, lake


CONDITIONS = [
    {}, {"status": "Failed"}, {"failure_reason": None}, {"failure_reason__not": None}, {"city__startswith": "Ben"},
    {"amount__between": (1000, 1500)}, {"customer_name__contains": "a "}, {"status__in": ["Failed", "Returned"]},
    {"actual_delivery_date__lt": "2025-06-01"}, {"client_id.city": "Pune"}, {"amount": -1},
    {"status__not": "Delivered", "amount__gt": 9}, {"failure_reason__in": ["Stockout", None]},
]  # fmt: skip
ORDERS = [
    (),
    ("-amount",),
    ("failure_reason", "-amount"),
    ("-actual_delivery_date", "city"),
    ("client_id.city", "-order_id"),
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
def test_a_query_gives_the_same_rows_in_the_same_order_in_pages_that_follow_each_other(both, conditions, order):
    queries = [database["orders"].where(conditions).order_by(*order) for database in both]
    wanted, found = ([row for chunk in query.stream(50) for row in chunk] for query in queries)
    assert found == wanted
    assert queries[0].count() == queries[1].count() == len(found)

    page, met = queries[1].page(37), []
    while page is not None:
        met += page.records()
        last, page = page, page.forward()
    assert met == found
    assert not last.start or last.back().records() == found[last.start - 37 : last.start]


def test_frames_have_the_same_values_and_types(both):
    from pandas.testing import assert_frame_equal

    for name in both[0]:
        assert_frame_equal(both[1][name].frame(), both[0][name].frame())


def test_statistics_checks_and_rejects_are_the_same(both):
    (wanted, found) = (describe(database) for database in both)
    assert json.loads(json.dumps(found["tables"]), parse_float=lambda n: round(float(n), 9)) == json.loads(
        json.dumps(wanted["tables"]), parse_float=lambda n: round(float(n), 9)
    )
    assert found["checks"] == wanted["checks"]
    assert references(both[1]) == references(both[0])

    told = [[reject | {"path": ""} for reject in rejects(database)] for database in both]
    assert told[0] == told[1] != []


def test_reasons_of_equal_number_come_in_the_same_order(both):
    wanted, found = (reasons(database) for database in both)

    ranks = [(-r["errors"], r["source"], r["stage"], r["code"], r["column"] or "") for r in wanted]
    assert len({rank[0] for rank in ranks}) < len(ranks)
    assert ranks == sorted(ranks)
    assert found == wanted


def test_any_select_is_a_query(both):
    sql = "SELECT city, count(*) AS n FROM orders WHERE status = ? GROUP BY city"

    wanted, found = (database.sql(sql, ["Failed"]).where(n__gt=1).order_by("-n", "city").page(5) for database in both)

    assert found.rows == wanted.rows


@pytest.mark.parametrize(
    ("sql", "of_sqlite", "of_duckdb"),
    [
        ("SELECT 'THIS IS BAD'", "THIS IS BAD", "THIS IS BAD"),
        ("SELECT 'IS NOT b, GLOB ''[^x]'", "IS NOT b, GLOB '[^x]", "IS NOT b, GLOB '[^x]"),
        ("SELECT 7 / 2", 3, 3.5),
        ("SELECT count(*) FROM orders WHERE city LIKE 'PUNE'", 37, 0),
        ("SELECT 'b' GLOB '[^a]'", 1, False),
    ],
)
def test_sql_goes_to_the_engine_as_it_stands(both, sql, of_sqlite, of_duckdb):
    assert [database.sql(sql).page(1).rows[0][0] for database in both] == [of_sqlite, of_duckdb]


def test_a_declared_check_counts_the_same_in_both(client, tmp_path):
    class Note(
        foundation.Record,
        table="notes",
        key="note_id",
        checks={
            "is_not_bad": "text <> 'THIS IS BAD'",
            "half": "note_id / 2 <> 1.5",
            "plain": "text NOT GLOB '*[^a-zA-Z ]*'",
        },
    ):
        """Something said."""

        note_id: int
        text: str

    sources, names = [Note.__source__], list(Note.__source__.checks)
    (tmp_path / "notes.csv").write_text("note_id,text\n1,THIS IS BAD\n2,good\n3,good\n4,Äh\n")
    foundation.ingest(tmp_path, tmp_path / "x.db", sources=sources)
    load.ingest(tmp_path, tmp_path / "lake", client=client, sources=sources)

    for place in ("x.db", "lake"):
        with foundation.open(tmp_path / place, sources=sources) as database:
            assert [(check["name"], check["rows"]) for check in describe(database)["checks"]] == [(n, 1) for n in names]
            (kept,) = loads(database)
            assert {check["name"]: check["rows"] for check in checks_of(database, kept["load_id"])} == dict.fromkeys(
                names, 1
            )


def test_a_database_file_gives_no_dask_frame_and_a_select_none_either(both):
    with pytest.raises(foundation.QueryError, match="a partition for each file of a folder of Parquet; use frame"):
        both[0]["orders"].dask()
    with pytest.raises(foundation.QueryError, match="a SELECT is none; use frame"):
        both[1].sql("SELECT 1").dask()


def test_a_row_is_told_where_it_came_from(both):
    wanted, found = (explain(database, "orders", "6") for database in both)

    same = ("row", "record", "line", "last_line", "byte_start", "byte_end", "raw", "note", "rejects")
    assert [found[name] for name in same] == [wanted[name] for name in same]


def test_a_dask_frame_has_the_rows_of_a_query(both):
    query = both[1]["orders"].where({"client_id.city": "Pune"}).select("order_id", "amount", "order_date")

    frame = query.dask()

    assert frame.npartitions > 3
    found = frame.compute(scheduler="sync").reset_index(drop=True)
    assert found.equals(query.frame())
    assert str(found.dtypes["order_date"]).startswith("datetime64")


def test_a_folder_is_exported_as_a_database_is(places, tmp_path):
    for place, out in zip(places, ("a", "b"), strict=True):
        assert main(["export", str(place), str(tmp_path / out), "--format", "csv"]) == 0

    files = [sorted((path.name, path.read_bytes()) for path in (tmp_path / out).iterdir()) for out in ("a", "b")]
    assert files[0] == files[1]


def test_what_has_changed_is_seen_by_who_opens_it_anew(client, data, tmp_path):
    ingest(data, tmp_path / "out", client=client)
    with foundation.open(tmp_path / "out") as lake:
        token = lake["orders"].page(2).next
    ingest(data, tmp_path / "out", client=client, again=True)

    with foundation.open(tmp_path / "out") as lake, pytest.raises(foundation.QueryError, match="the data has changed"):
        lake["orders"].page(2, after=token)


def test_a_file_that_has_changed_is_told(client, data, tmp_path):
    ingest(data, tmp_path / "out", client=client)
    (data / "orders.csv").write_text((data / "orders.csv").read_text("utf-8").replace("Pune", "Agra"), "utf-8")

    with foundation.open(tmp_path / "out") as lake:
        told = explain(lake, "orders", "1")

    assert (told["row"]["city"], told["raw"], told["note"]) == (
        "Pune", None, "the file is no longer the one that was loaded",
    )  # fmt: skip


def test_tables_that_were_not_loaded_are_empty(client, data, tmp_path):
    ingest(data, tmp_path / "out", client=client, only=["clients"])

    with foundation.open(tmp_path / "out") as lake:
        assert (lake["clients"].count(), lake["orders"].page(5).rows, lake["orders"].dask().npartitions) == (3, (), 1)


def test_a_folder_that_is_none_of_ours_and_a_wrong_select_are_told_in_words(both, tmp_path):
    with pytest.raises(foundation.StoreError, match=r"no folder of a load; make one with foundation ingest DATA --to"):
        foundation.open(tmp_path)
    with pytest.raises(foundation.QueryError, match="this SELECT cannot be run"):
        both[1].sql("SELECT * FROM order")


def test_rows_are_files_that_others_read(places):
    from pyarrow import dataset

    found = dataset.dataset(places[1] / "orders", format="parquet")

    assert found.count_rows() == 361
    assert all(group.statistics for file in found.get_fragments() for group in file.row_groups)


def test_what_does_not_hold_together_is_named(client, data, tmp_path):
    out, db = tmp_path / "out", tmp_path / "x.db"
    ingest(data, out, client=client)
    loading.ingest(data, db)
    with foundation.open(out) as lake, foundation.open(db) as database:
        assert lake.problems() == database.problems() == []

    manifest = json.loads((out / MANIFEST).read_text("utf-8"))
    parts = {load["source"]: load["parts"] for load in manifest["loads"]}
    parts["orders"] += parts["orders"]
    parts["clients"].clear()
    (out / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute("DELETE FROM clients")

    with foundation.open(out) as lake, foundation.open(db) as database:
        assert database.problems() == ["orders: 6 rows refer to clients that are not there"]
        assert lake.problems() == [
            "clients: 3 rows more or fewer are there than were stored",
            "orders: 6 rows more or fewer are there than were stored",
            "orders: 6 rows have a key that is there already",
            "orders: 12 rows refer to clients that are not there",
        ]


def test_a_file_that_has_grown_is_another_delivery(client, data, tmp_path):
    ingest(data, tmp_path / "out", client=client)
    append(data / "feedback.csv", "2,1,Meera,Fine,Positive,5,2025-09-09 12:00:00\n")

    with pytest.raises(foundation.StoreError, match="name another folder"):
        ingest(data, tmp_path / "out", client=client)


READING = (
    "Find rows", "Follow a reference", "Page forwards and back", "Stream a large table in constant memory", "A frame",
    "Any SELECT", "The cache", "Statistics", "What was refused, and why",
)  # fmt: skip


def test_the_recipes_for_reading_give_the_same_from_a_folder_of_parquet(client, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    inbox = shutil.copytree(ROOT / "data/sample", "inbox")
    ingest(inbox, "sample.db", client=client)
    with foundation.open("sample.db") as db:
        names: dict[str, object] = {"__name__": "recipes", "db": db, "orders": db["orders"], "foundation": foundation}
        sections = re.split("^## ", (ROOT / "docs/recipes.md").read_text("utf-8"), flags=re.M)
        chosen = [section for section in sections if section.startswith(READING)]
        blocks = [block for section in chosen for block in re.findall(r"^```(\w+)\n(.*?)^```", section, re.S | re.M)]

        for language, block in blocks:
            failed = run_python(block, names) if language == "pycon" else run_shell(block, capsys)
            assert failed == 0, capsys.readouterr().out

    assert len(chosen) == len(READING)
