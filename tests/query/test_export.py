import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

import foundation
from foundation import FoundationError, QueryError, Record
from foundation.cli import main
from foundation.query.export import export
from foundation.schema.source import in_order
from tests.support.deliveries import write_delivery
from tests.support.inspection import content, query
from tests.support.loading import ingest


class Thing(Record, table="Things", key="id", references={"above": "Things"}):
    """A thing."""

    id: int = Field(gt=0)
    above: int | None = None
    share: Annotated[float, Field(ge=0, le=1)]
    seen: date | None = Field(None, ge=date(2025, 1, 1), description="by whom does not matter")
    at: datetime
    colour: Literal["blue", "red"]
    word: str = Field(min_length=2, max_length=200)
    rank: Annotated[int, Field(lt=10)] | None = Field(None, alias="Rank!")


THINGS = in_order([Thing.__source__])
HARD = 'say "no", \r\n\té\u202e=1+1'


@pytest.fixture
def things(tmp_path) -> foundation.Database:
    quoted = '"' + HARD.replace('"', '""') + '"'
    lines = ["id,above,share,seen,at,colour,word,Rank!", f"1,,1e-07,2025-01-30,2025-01-30 08:15:00,red,{quoted},"]
    lines += ["2,1,0.5,,2025-01-30 08:15:00,blue,NA,9"]
    (tmp_path / "Things.csv").write_text("\n".join(lines) + "\n", "utf-8", newline="")
    run = ingest(tmp_path, tmp_path / "t.db", sources=THINGS)
    assert run.loads[0].inserted == 2
    with foundation.open(tmp_path / "t.db", sources=THINGS) as database:
        yield database


def test_what_is_exported_as_csv_loads_again_to_the_same_content(data, db, tmp_path):
    ingest(data, db)
    with foundation.open(db) as database:
        export(database, tmp_path / "out", form="csv")

    run = ingest(tmp_path / "out", tmp_path / "again.db")

    assert sum(load.rejected for load in run.loads) == 0
    assert content(tmp_path / "again.db") == content(db)


def test_values_stand_in_a_csv_as_they_are(things, tmp_path):
    export(things, tmp_path / "out", form="csv")

    quoted = '"' + HARD.replace('"', '""') + '"'
    assert (tmp_path / "out/Things.csv").read_bytes().decode() == (
        "id,above,share,seen,at,colour,word,rank\r\n"
        f"1,,1e-07,2025-01-30,2025-01-30 08:15:00,red,{quoted},\r\n"
        "2,1,0.5,,2025-01-30 08:15:00,blue,NA,9\r\n"
    )


def test_a_line_of_json_is_a_row(things, tmp_path):
    (file,) = export(things, tmp_path / "out", form="jsonl")

    rows = [json.loads(line) for line in file.path.read_text("utf-8").splitlines()]
    assert rows == [record for chunk in things["Things"].stream() for record in chunk]
    assert (file.rows, file.bytes, rows[0]["word"], rows[1]["rank"]) == (2, file.path.stat().st_size, HARD, 9)


def test_the_data_package_has_keys_references_and_constraints(things, tmp_path):
    (file,) = export(things, tmp_path / "out", form="csv")

    (resource,) = json.loads((tmp_path / "out/datapackage.json").read_text("utf-8"))["resources"]
    assert (resource["name"], resource["path"], resource["bytes"]) == ("things", "Things.csv", file.bytes)
    assert resource["hash"] == f"sha256:{file.sha256}"
    assert resource["schema"] == {
        "fields": [
            {"name": "id", "type": "integer", "constraints": {"required": True, "minimum": 1}},
            {"name": "above", "type": "integer"},
            {"name": "share", "type": "number", "constraints": {"required": True, "minimum": 0, "maximum": 1}},
            {
                "name": "seen", "type": "date", "description": "by whom does not matter",
                "constraints": {"minimum": "2025-01-01"},
            },
            {"name": "at", "type": "datetime", "format": "%Y-%m-%d %H:%M:%S", "constraints": {"required": True}},
            {"name": "colour", "type": "string", "constraints": {"required": True, "enum": ["blue", "red"]}},
            {"name": "word", "type": "string", "constraints": {"required": True, "minLength": 2, "maxLength": 200}},
            {"name": "rank", "type": "integer", "constraints": {"maximum": 9}},
        ],
        "missingValues": [""],
        "primaryKey": "id",
        "foreignKeys": [{"fields": "above", "reference": {"resource": "", "fields": "id"}}],
    }  # fmt: skip


def test_only_references_to_what_is_exported_are_told(data, db, tmp_path):
    ingest(data, db)

    assert (
        main(
            [
                "export",
                str(db),
                str(tmp_path / "out"),
                "--format",
                "csv",
                "--source",
                "fleet_logs",
                "--source",
                "drivers",
            ]
        )
        == 0
    )

    resources = json.loads((tmp_path / "out/datapackage.json").read_text("utf-8"))["resources"]
    references = [resource["schema"].get("foreignKeys") for resource in resources]
    assert references == [[{"fields": "driver_id", "reference": {"resource": "drivers", "fields": "driver_id"}}], None]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "datapackage.json",
        "drivers.csv",
        "fleet_logs.csv",
    ]


def test_exporting_twice_gives_the_same_bytes(data, db, tmp_path):
    ingest(data, db)
    for out in ("a", "b"):
        main(["export", str(db), str(tmp_path / out), "--format", "jsonl"])

    def files(folder: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}

    assert files("a") == files("b")
    assert len(files("a")) == 9


def test_all_tables_show_one_state(tmp_path, db):
    """Rows that are loaded while a table is being written are in none of the files."""
    write_delivery(tmp_path / "data", clients=[{}], orders=[{}, {}])
    ingest(tmp_path / "data", db)
    write_delivery(tmp_path / "data", clients=[{}, {}], orders=[{}, {}, {"client_id": 2}])
    with foundation.open(db) as database:
        stream, loaded = foundation.Query.stream, []

        def load_meanwhile(query, chunk_size):
            yield from stream(query, chunk_size)
            if not loaded:
                loaded.append(ingest(tmp_path / "data", db))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(foundation.Query, "stream", load_meanwhile)
            files = export(database, tmp_path / "out", form="csv", only=["clients", "orders"])

    assert [file.rows for file in files] == [1, 2]
    assert len(query(db, "SELECT order_id FROM orders")) == 3


def test_without_pyarrow_parquet_is_refused_in_words(things, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(FoundationError, match=r"pip install 'foundation\[export\]', or choose --format csv or jsonl"):
        export(things, tmp_path / "out", form="parquet")


def test_a_folder_that_is_a_file_is_refused_in_words(things, tmp_path):
    with pytest.raises(FoundationError, match=r"t\.db: File exists; name a folder that can be written"):
        export(things, tmp_path / "t.db", form="csv")


def test_a_table_that_is_not_there_or_not_declared_is_refused_in_words(things, tmp_path):
    with pytest.raises(QueryError, match="no table 'orders'; there are Things"):
        export(things, tmp_path / "out", form="csv", only=["orders"])
    with (
        foundation.open(tmp_path / "t.db") as undeclared,
        pytest.raises(
            QueryError, match="no source declares the table Things; name the file of its class with --sources"
        ),
    ):
        export(undeclared, tmp_path / "out", form="csv")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path):
    peaks = [_peak(tmp_path / str(count), count) for count in (60_000, 180_000)]

    assert peaks[1] < peaks[0] * 1.2


def _peak(folder: Path, count: int) -> int:
    """Bytes that an export of so many rows holds at most, in Python's own memory."""
    import tracemalloc

    folder.mkdir()
    with (folder / "Things.csv").open("w") as file:
        file.write("id,above,share,seen,at,colour,word,Rank!\n")
        file.writelines(f"{n},,0.5,,2025-01-30 08:15:00,red,word {n},\n" for n in range(1, count + 1))
    ingest(folder, folder / "t.db", sources=THINGS, chunk_size=10_000)
    with foundation.open(folder / "t.db", sources=THINGS) as database:
        tracemalloc.start()
        try:
            export(database, folder / "out", form="csv")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
