"""Sources that are declared otherwise than the database: the difference told, tables carried over, no row lost."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

import foundation
from foundation.cli import main
from foundation.pipeline.migrate import migrate
from foundation.schema.record import load_sources
from foundation.store.database import connect
from tests.support.inspection import query
from tests.support.loading import ingest

BIKES = """
from datetime import datetime
from typing import Annotated, Literal
from pydantic import Field
from foundation import Format, Record

class Bike(Record, table="bikes", key="bike_id"{keywords}):
    bike_id: {key}
{bikes}

class Trip(Record, table="trips", key="trip_id", references={{"bike_id": "bikes"}}, indexes=[("started",)],
           checks={{"paid": "price > 0"}}):
    trip_id: int
    bike_id: int
    started: Annotated[datetime, Format("%d/%m/%Y %H:%M")]
    price: Annotated[float, Format("1.234,56")]
"""
FIRST = "    town: str\n    frame: str | None = None\n    weight: float\n"


def declared(folder, bikes=FIRST, key="int", keywords=""):
    path = folder / "own.py"
    path.write_text(BIKES.format(bikes=bikes, key=key, keywords=keywords))
    return load_sources(path)


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "bikes.csv").write_text(
        "bike_id,town,frame,weight\n1,Oslo,,12.0\n2,Bergen,A7,13.5\n03,Oslo,B,9\nx,Oslo,C,8\n"
    )
    (tmp_path / "trips.csv").write_text(
        'trip_id,bike_id,started,price\n1,1,3/7/2025 8:48,"1.876,15"\n2,2,4/7/2025 9:00,"2,5"\n3,9,4/7/2025 9:00,1\n'
    )
    db = tmp_path / "own.db"
    ingest(tmp_path, db, sources=declared(tmp_path))
    return db


def accounted(db):
    """Rows and open rejects of each source: together what was ever read."""
    return {
        name: (*query(db, f"SELECT count(*) FROM {name}"), *query(
            db, "SELECT count(*) FROM _rejects WHERE source = ? AND status = 'open'", name))
        for name in ("bikes", "trips")
    }  # fmt: skip


CHANGED = {
    "gained": (FIRST + "    colour: str | None = None\n", "colour is new (TEXT, optional)", (3, 1)),
    "lost": ("    town: str\n    weight: float\n", "frame is gone", (3, 1)),
    "retyped": (FIRST.replace("float", "int"), "weight is INTEGER, required now, and was REAL, required", (2, 2)),
    "required": (FIRST.replace("str | None = None", "str"), "frame is TEXT, required now", (2, 2)),
    "moved": ("    frame: str | None = None\n    town: str\n    weight: float\n", "another order", (3, 1)),
}


@pytest.mark.parametrize(("bikes", "told", "counts"), CHANGED.values(), ids=CHANGED)
def test_a_change_is_told_and_carried_over(tmp_path, loaded, bikes, told, counts):
    sources = declared(tmp_path, bikes)
    with pytest.raises(foundation.SchemaError, match="foundation migrate --db") as refusal:
        ingest(tmp_path, loaded, sources=sources)

    migrate(loaded, sources)

    assert told in str(refusal.value)
    assert accounted(loaded)["bikes"] == counts
    assert sum(accounted(loaded)["trips"]) == 3
    assert ingest(tmp_path, loaded, sources=declared(tmp_path, bikes), only=["trips"]).status == "complete"


def test_a_renamed_column_keeps_its_values_and_its_rejects_are_read_by_the_old_name(tmp_path, loaded):
    bikes = "    city: str\n    frame: str | None = None\n    weight: float\n"

    migrate(loaded, declared(tmp_path, bikes, key="str", keywords=', renamed={"city": "town"}'))

    assert query(loaded, "SELECT bike_id, city FROM bikes ORDER BY 1") == [
        ("1", "Oslo"), ("2", "Bergen"), ("3", "Oslo"), ("x", "Oslo"),
    ]  # fmt: skip
    assert query(loaded, "SELECT status FROM _rejects WHERE source = 'bikes'") == ["released"]


def test_rows_that_no_longer_hold_are_rejects_with_reason_and_come_back(tmp_path, loaded):
    narrow = FIRST.replace("town: str", 'town: Literal["Oslo"]').replace("weight: float", "weight: float | None = None")
    before = query(loaded, "SELECT * FROM trips ORDER BY trip_id")

    migrate(loaded, declared(tmp_path, narrow))

    assert query(loaded, "SELECT bike_id FROM bikes") == [1, 3]
    assert query(
        loaded,
        "SELECT r.source, record, CAST(raw AS TEXT), code FROM _errors JOIN _rejects r USING (reject_id) "
        "JOIN _loads USING (load_id) WHERE kind = 'migrate' ORDER BY 1",
    ) == [
        ("bikes", 2, "2,Bergen,A7,13.5\r\n", "literal_error"),
        ("trips", 2, '2,2,04/07/2025 09:00,"2,5"\r\n', "parent_rejected"),
    ]
    migrate(loaded, declared(tmp_path))
    assert query(loaded, "SELECT bike_id, town FROM bikes") == [(1, "Oslo"), (2, "Bergen"), (3, "Oslo")]
    columns = len(before[0]) - 2
    assert [row[:columns] for row in query(loaded, "SELECT * FROM trips ORDER BY trip_id")] == [
        r[:columns] for r in before
    ]
    assert accounted(loaded) == {"bikes": (3, 1), "trips": (2, 1)}


def test_every_row_is_of_a_load_with_the_fingerprint_that_judged_it(tmp_path, loaded):
    sources = declared(tmp_path, FIRST + "    colour: str | None = None\n")

    migrate(loaded, sources)

    told = dict(query(loaded, "SELECT DISTINCT source, fingerprint FROM bikes JOIN _loads ON load_id = bikes._load"))
    assert told == {"bikes": next(s.fingerprint for s in sources if s.name == "bikes")}
    assert query(loaded, "PRAGMA foreign_key_check") == []
    assert "idx_trips_started" in query(loaded, "SELECT name FROM sqlite_schema")


def test_a_dry_run_changes_nothing_and_tells_the_same(tmp_path, loaded, capsys):
    declared(tmp_path, FIRST.replace("str | None = None", "str"))
    before = query(loaded, "SELECT sql FROM sqlite_schema") + query(loaded, "SELECT * FROM _loads")
    command = ["migrate", "--db", str(loaded), "--sources", str(tmp_path / "own.py")]

    statuses = [main([*command, "--dry-run"])]
    assert query(loaded, "SELECT sql FROM sqlite_schema") + query(loaded, "SELECT * FROM _loads") == before
    told = capsys.readouterr().out
    statuses.append(main(command))

    assert statuses == [1, 1]
    assert capsys.readouterr().out == told
    assert main(command) == 0  # there is nothing left to do


def test_a_table_that_no_source_declares_is_not_left_with_references_to_nothing(tmp_path, loaded):
    narrow = declared(tmp_path, FIRST.replace("town: str", 'town: Literal["Oslo"]'))

    with pytest.raises(foundation.SchemaError, match="no source declares trips"):
        migrate(loaded, [narrow[0]])

    assert accounted(loaded) == {"bikes": (3, 1), "trips": (2, 1)}


def test_rows_that_cannot_be_told_apart_are_not_lost(tmp_path, loaded):
    with closing(sqlite3.connect(loaded)) as connection, connection:
        connection.execute("UPDATE bikes SET _record = 1")

    with pytest.raises(foundation.StoreError, match="bikes has 3 rows, of which 1 can be told apart"):
        migrate(loaded, declared(tmp_path, FIRST.replace("float", "int")))

    assert query(loaded, "SELECT bike_id, weight FROM bikes") == [(1, 12.0), (2, 13.5), (3, 9.0)]


def test_rows_of_a_new_key_that_are_not_different_are_rejects(tmp_path, loaded):
    path = tmp_path / "own.py"
    path.write_text(
        "from foundation import Record\n"
        "class Trip(Record, table='trips', key='started'):\n"
        "    trip_id: int\n    bike_id: int\n    started: str\n    price: float\n"
    )
    with closing(sqlite3.connect(loaded)) as connection, connection:
        connection.execute("UPDATE trips SET started = '2025-07-03 08:48:00'")

    migrate(loaded, load_sources(path))

    assert query(loaded, "SELECT trip_id FROM trips") == [1, 3]  # the third refers to nothing now
    assert query(loaded, "SELECT code FROM _errors WHERE stage = 'key'") == ["duplicate_key"]


KILLED = """
import os, signal, sys
from pathlib import Path
import foundation
from foundation.pipeline import migrate

left = int(sys.argv[3])
ROOMS = tuple(str(Path(foundation.__file__).parent / room) for room in ("pipeline", "store"))
def traced(frame, event, argument):
    global left
    if event == "call" and frame.f_code.co_filename.startswith(ROOMS):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(traced)
migrate(Path(sys.argv[1]), foundation.load_sources(Path(sys.argv[2])))
"""


def run_until(db, sources, calls):
    command = [sys.executable, "-c", KILLED, str(db), str(sources), str(calls)]
    return subprocess.run(command, check=False, env=os.environ).returncode


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_it_gives_the_same(tmp_path, loaded):
    narrow = FIRST.replace("town: str", 'town: Literal["Oslo"]') + "    colour: str | None = None\n"
    sources, before = declared(tmp_path, narrow), loaded.read_bytes()
    migrate(loaded, sources)
    wanted = {name: query(loaded, f"SELECT * FROM {name}") for name in ("bikes", "trips", "_rejects", "_errors")}

    for calls in (1, 20, 60, 100, 130, 150, 170, 190, 210):
        loaded.write_bytes(before)
        assert run_until(loaded, tmp_path / "own.py", calls) == -signal.SIGKILL
        connect(loaded, read_only=True).close()
        assert query(loaded, "PRAGMA integrity_check") == ["ok"]

        migrate(loaded, sources)

        assert {name: query(loaded, f"SELECT * FROM {name}") for name in wanted} == wanted
