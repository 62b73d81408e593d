import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from foundation import SOURCES, Record, SchemaError, StoreError
from foundation.store.database import Store, connect
from tests.support.deliveries import ALL
from tests.support.inspection import keys, query
from tests.support.loading import ingest
from tests.support.processes import in_child

OWN = ("_runs", "_loads", "_chunks", "_rejects", "_repairs", "_errors", "_stats")


@pytest.fixture
def loaded(data: Path, db: Path) -> Path:
    ingest(data, db)
    return db


@pytest.fixture
def other_writer(db: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the database open for writing."""
    code = (
        "import pathlib, sys; from foundation.store.database import Store\n"
        "with Store(pathlib.Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", code, str(db)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


@contextlib.contextmanager
def write_protected(path: Path) -> Iterator[None]:
    """Nobody may write to *path* in the block, not even root."""
    if os.geteuid():
        mode = path.stat().st_mode
        path.chmod(mode & ~0o222)
        yield
        path.chmod(mode)
    elif subprocess.run(["/usr/bin/env", "chattr", "+i", path], check=False, capture_output=True).returncode:
        pytest.skip("root can write everywhere, and chattr +i does not work on this file system")
    else:
        try:
            yield
        finally:
            subprocess.run(["/usr/bin/env", "chattr", "-i", path], check=True)


def test_every_table_is_strict(loaded):
    tables = dict(query(loaded, "SELECT name, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite_%'"))

    assert tables == dict.fromkeys((*OWN, *ALL), 1)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_columns_stand_in_the_order_of_the_file_and_the_keys_are_related(loaded, source):
    columns = query(loaded, "SELECT name FROM pragma_table_info(?)", source.name)
    related = dict(query(loaded, 'SELECT "from", "table" FROM pragma_foreign_key_list(?)', source.name))

    assert columns == [*(c.name for c in source.columns), "_load", "_record"]
    assert related == dict(source.references)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_an_index_is_named_for_its_table_and_columns(loaded, source):
    made = query(loaded, "SELECT name FROM pragma_index_list(?) WHERE origin = 'c' ORDER BY 1", source.name)
    columns = {name: tuple(query(loaded, "SELECT name FROM pragma_index_info(?)", name)) for name in made}

    assert columns == {f"idx_{source.name}_{'_'.join(names)}": names for names in source.indexes}


def test_every_reference_has_an_index():
    without = [(s.name, column) for s in SOURCES for column in s.references if (column,) not in s.indexes]

    assert without == []


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("client_id = 1", "idx_orders_client_id"),
        ("city = 'Pune' AND state = 'Maharashtra'", "idx_orders_city_state"),
        ("city = 'Pune'", "idx_orders_city_state"),
        ("order_date >= '2025-01-01' AND order_date < '2025-02-01'", "idx_orders_order_date"),
        ("status = 'Failed'", "idx_orders_status"),
    ],
    ids=["client", "city and state", "city", "date", "status"],
)
def test_a_query_on_orders_uses_its_index(loaded, where, index):
    plan = query(loaded, f"EXPLAIN QUERY PLAN SELECT * FROM orders WHERE {where}")

    assert f"USING INDEX {index} " in plan[0][3]


def test_a_loaded_database_is_sound(faulty_data, db):
    ingest(faulty_data, db, chunk_size=2)

    assert query(db, "PRAGMA integrity_check") == ["ok"]
    assert query(db, "PRAGMA foreign_key_check") == []


@pytest.mark.parametrize("read_only", [True, False], ids=["reading", "writing"])
def test_every_connection_enforces_foreign_keys(loaded, read_only):
    with contextlib.closing(connect(loaded, read_only=read_only)) as connection:
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_reading_connection_cannot_write(loaded):
    with (
        contextlib.closing(connect(loaded, read_only=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM feedback")


def test_after_closing_everything_is_in_one_file(loaded):
    beside = {path.name for path in loaded.parent.iterdir() if path.is_file()}

    assert beside == {"test.db", "test.db.lock"}


def foreign_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign_database, "a database, but not one of foundation; name another file"),
        (lambda path: path.write_text("order_id,client_id\n" * 200), "not a database; name a database that"),
        (lambda path: path.write_text("short"), "not a database; name a database that"),
    ],
    ids=["another database", "a CSV file", "a short text"],
)
def test_a_file_that_is_not_ours_is_refused_and_left_untouched(db, make, message):
    make(db)
    before = db.read_bytes()

    with pytest.raises(StoreError, match=message):
        Store(db)
    assert db.read_bytes() == before
    assert [path.name for path in db.parent.iterdir() if path.is_file() and path != db] == []


def test_an_empty_file_becomes_a_database(db):
    db.touch()

    Store(db).close()

    assert query(db, "SELECT count(*) FROM _loads") == [0]


def test_a_database_of_another_version_is_refused(loaded):
    with contextlib.closing(sqlite3.connect(loaded)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreError, match=r"another version of foundation \(ledger 99\)"):
        Store(loaded)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"absent/test.db: the folder .*absent does not exist; make it first"):
        Store(tmp_path / "absent" / "test.db")


def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(StoreError, match="a folder is there, and this takes a database file"):
        Store(tmp_path)


def test_reading_a_missing_database_names_the_command_that_makes_it(db):
    with pytest.raises(StoreError, match=r"no such database; make it with foundation ingest DATA --db .*test\.db"):
        connect(db, read_only=True)
    assert not db.exists()


@pytest.mark.parametrize("protect", ["file", "folder"])
def test_a_write_protected_database_is_refused_in_words(data, loaded, protect):
    loaded.with_name("test.db.lock").unlink()
    protected = loaded if protect == "file" else loaded.parent

    with write_protected(protected), pytest.raises(StoreError, match=r"test\.db: .*writable"):
        ingest(data, loaded, again=True)
    assert len(keys(loaded, "orders")) == 6


class Trip(Record, table="trips", key="trip_id", indexes=[("weather",)]):
    trip_id: int
    weather: Literal["dry", "wet"]


class WiderTrip(Record, table="trips", key="trip_id"):
    trip_id: int
    weather: str | None = None


def test_a_table_of_another_declaration_is_refused(db):
    with Store(db) as store:
        store.prepare(Trip.__source__)

        with pytest.raises(
            SchemaError, match="the table trips was made from another declaration: weather is TEXT, opt"
        ):
            store.prepare(WiderTrip.__source__)


def test_an_empty_table_gets_its_indexes_after_its_rows(db):
    with Store(db) as store:
        store.prepare(Trip.__source__)
        store.build_indexes(Trip.__source__)
        store.prepare(Trip.__source__)
        before = store.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'idx%'").fetchall()
        store.build_indexes(Trip.__source__)
        after = store.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'idx%'").fetchall()

    assert (before, after) == ([], [("idx_trips_weather",)])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, StoreError])
def test_a_transaction_is_undone_on_any_exception(db, error):
    with Store(db) as store:
        with pytest.raises(error), store.transaction():
            store.execute("INSERT INTO _runs VALUES ('a', '', '', '', '{}', '{}')")
            raise error

        assert store.execute("SELECT count(*) FROM _runs").fetchone() == (0,)


def test_what_sqlite_reports_names_the_file(db):
    with Store(db) as store, pytest.raises(StoreError, match=r"test\.db: no such table: absent; ") as caught:
        store.execute("SELECT * FROM absent")

    assert isinstance(caught.value.__cause__, sqlite3.Error)


def test_a_second_writer_waits_a_while_and_then_names_the_first(db, other_writer):
    began = time.monotonic()

    with pytest.raises(StoreError, match=rf"test\.db: process {other_writer.pid} \(since .*\) is writing .* 0\.3 s"):
        Store(db, wait_s=0.3)
    assert 0.3 <= time.monotonic() - began < 5


def test_a_second_writer_goes_on_when_the_first_is_done(db, other_writer):
    other_writer.stdin.close()

    Store(db, wait_s=30).close()

    assert other_writer.wait() == 0


def test_a_killed_writer_leaves_no_lock(db, other_writer):
    other_writer.kill()
    other_writer.wait()

    Store(db, wait_s=0).close()

    assert query(db, "PRAGMA integrity_check") == ["ok"]


def test_a_link_to_a_database_has_the_same_lock(db, other_writer, tmp_path):
    link = tmp_path / "link.db"
    link.symlink_to(db)

    with pytest.raises(StoreError, match=f"process {other_writer.pid}"):
        Store(link, wait_s=0)


def test_a_refused_database_is_not_kept_locked(db):
    foreign_database(db)
    with pytest.raises(StoreError):
        Store(db)

    assert in_child(lambda: _remove_and_open(db)) == 0


def _remove_and_open(db: Path) -> None:
    db.unlink()
    Store(db, wait_s=0).close()
