"""A key of several columns goes through everything that a key of one column does."""

import json

import pytest

import foundation
from foundation.cli import main
from foundation.pipeline.migrate import migrate
from foundation.schema.record import load_sources
from tests.support.inspection import query
from tests.support.loading import ingest

DECLARED = """
from pydantic import Field
from foundation import Record

class Line(Record, table="lines", key=("invoice", "item"), checks={"cheap": "price < 100"}):
    invoice: int = Field(gt=0)
    item: str
    price: float
"""
HEADER = "invoice,item,price\n"


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(DECLARED)
    return path


@pytest.fixture
def loaded(tmp_path, own):
    write(tmp_path, '1,"a,b",1\n1,c,2\n2,c,300\n01,c,4\n3,d,x\n')
    db = tmp_path / "own.db"
    ingest(tmp_path, db, sources=load_sources(own))
    return db


def write(folder, text):
    (folder / "lines.csv").write_text(HEADER + text)


def test_the_second_record_with_the_key_is_refused_and_others_are_stored(loaded):
    assert query(loaded, "SELECT * FROM lines ORDER BY 1, 2") == [
        (1, "a,b", 1.0, 1, 1), (1, "c", 2.0, 1, 2), (2, "c", 300.0, 1, 3),
    ]  # fmt: skip
    assert query(loaded, 'SELECT code, "column", value, key FROM _errors JOIN _rejects USING (reject_id)') == [
        ("duplicate_key", "invoice, item", '["1","c"]', '["1","c"]'),
        ("float_parsing", "price", "x", '["3","d"]'),
    ]


def test_a_later_file_updates_by_the_whole_key(tmp_path, own, loaded):
    write(tmp_path, '1,"a,b",9\n1,c,2\n4,c,5\n')

    (load,) = ingest(tmp_path, loaded, sources=load_sources(own)).loads

    assert (load.inserted, load.updated, load.unchanged) == (1, 1, 1)
    assert query(loaded, "SELECT price FROM lines ORDER BY invoice, item") == [9.0, 2.0, 300.0, 5.0]


def test_pages_go_by_the_whole_key(own, loaded):
    with foundation.open(loaded, sources=load_sources(own)) as db:
        page = db["lines"].order_by("-price").page(2)
        rows = [*page.records(), *page.forward().records()]

    assert [(row["invoice"], row["item"]) for row in rows] == [(2, "c"), (1, "c"), (1, "a,b")]


@pytest.mark.parametrize(("key", "record"), [("2,c", 3), ('["1", "a,b"]', 1)])
def test_explain_takes_the_values_with_commas_or_as_json(own, loaded, capsys, key, record):
    assert main(["explain", "lines", key, "--db", str(loaded), "--sources", str(own), "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["record"], told["line"]) == (record, record + 1)


def test_explain_finds_a_reject_and_refuses_half_a_key(own, loaded, capsys):
    assert main(["explain", "lines", "3,d", "--db", str(loaded), "--sources", str(own), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rejects"][0]["reasons"] == "float_parsing price"
    assert main(["explain", "lines", "3", "--db", str(loaded), "--sources", str(own)]) == 2
    assert "the key of lines is invoice, item" in capsys.readouterr().err


def test_exports_stats_repairs_and_replays(tmp_path, own, loaded, capsys):
    options = ["--db", str(loaded), "--sources", str(own)]
    assert main(["export", str(loaded), str(tmp_path / "out"), "--format", "csv", "--sources", str(own)]) == 0
    (resource,) = json.loads((tmp_path / "out/datapackage.json").read_text())["resources"]
    assert resource["schema"]["primaryKey"] == ["invoice", "item"]
    assert main(["stats", *options]) == 0
    assert '["2","c"]' in capsys.readouterr().out
    assert main(["rejects", "--export", str(tmp_path / "fix"), *options]) == 0
    fixed = tmp_path / "fix/lines.csv"
    fixed.write_text(fixed.read_text().replace(",d,x,", ",d,7,"))
    assert main(["repair", str(tmp_path / "fix"), *options]) == 1  # the other is a duplicate still
    assert main(["replay", *options]) == 0
    assert query(loaded, "SELECT price FROM lines WHERE invoice = 3") == [7.0]


def test_a_key_may_gain_a_column(own, loaded):
    own.write_text(DECLARED.replace('("invoice", "item")', '("invoice", "item", "price")'))

    migrate(loaded, load_sources(own))

    assert query(loaded, "SELECT count(*) FROM lines") == [4]  # what was a duplicate is none now


def test_a_reference_to_such_a_key_is_refused_in_words(own):
    own.write_text(
        DECLARED + "class Part(Record, table='parts', key='p', references={'q': 'lines'}):\n    p: int\n    q: int\n"
    )

    with pytest.raises(foundation.SchemaError, match="parts refers to lines, whose key has several columns"):
        load_sources(own)


def test_each_column_of_the_key_is_there_and_required(own):
    own.write_text(DECLARED.replace("item: str", "item: str | None = None"))

    with pytest.raises(foundation.SchemaError, match="the key invoice, item may not be optional"):
        load_sources(own)
