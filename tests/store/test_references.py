"""References told by keys in memory: what SQLite would have found, whatever the keys, and whoever else writes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foundation
from foundation import load_sources
from foundation.delivery.sample import write_sample
from foundation.store.database import Store
from foundation.store.references import Parents, known_parents
from tests.support.deliveries import write_delivery
from tests.support.inspection import counts, query, reasons, snapshot
from tests.support.loading import tuned

KEY = st.integers(-3, 60) | st.integers(-(2**63), 2**63 - 1)


ingest = tuned(parents_bytes=0, parents_bytes_per_key=1)  # parents are known for every file, however small


@pytest.fixture
def store(db: Path) -> Iterator[Store]:
    """A table of parents, empty."""
    with Store(db) as store:
        store.execute("CREATE TABLE towns (town INTEGER PRIMARY KEY) STRICT")
        yield store


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(KEY), values=st.sets(KEY | st.just(2.5)), most_gaps=st.integers(0, 70))
def test_doubtful_are_those_that_are_no_key(store, keys, values, most_gaps):
    store.execute("DELETE FROM towns")
    store.connection.executemany("INSERT INTO towns VALUES (?)", [(key,) for key in keys])
    known = Parents(store, {"town": "towns"}, 100, most_gaps)

    are_close = (
        keys
        and all(type(value) is int for value in values)
        and max(keys) - min(keys) < 100
        and max(keys) - min(keys) + 1 - len(keys) <= most_gaps
    )
    assert known.doubtful("town", values) == (values - keys if are_close else values)


@pytest.mark.parametrize("chunk_size", [3, 1_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_load_gives_what_it_gives_when_sqlite_looks(tmp_path, chunk_size, workers):
    write_sample(tmp_path / "data", orders=300, faults=0.1, seed=5)
    ingest(tmp_path / "data", tmp_path / "known.db", chunk_size=chunk_size, workers=workers)
    tuned(parents_bytes=2**40)(tmp_path / "data", tmp_path / "looked.db")

    assert snapshot(tmp_path / "known.db") == snapshot(tmp_path / "looked.db")
    assert query(tmp_path / "known.db", "PRAGMA foreign_key_check") == []
    codes = {code for _, _, code, _ in reasons(tmp_path / "known.db", "feedback")}
    assert {"orphan", "parent_rejected"} <= codes


def test_a_parent_that_another_program_takes_away_is_missed(data, db):
    write_delivery(data, clients=[{}] * 9, orders=[{"client_id": key} for key in range(1, 10)])
    ingest(data, db, only=["clients"])
    chunks = count(1)

    def take_away(load, done, size):
        if load.source == "orders" and next(chunks) == 4:
            with closing(sqlite3.connect(db)) as other, other:
                other.execute("DELETE FROM clients WHERE client_id IN (2, 7)")  # order 2 is stored, 7 is to come

    (orders,) = ingest(data, db, only=["orders"], chunk_size=1, progress=take_away).loads

    assert counts(orders) == (9, 8, 0, 0, 1)
    assert reasons(db, "orders") == [(7, "relation", "orphan", "client_id")]


def test_references_to_texts_are_looked_up(tmp_path, db):
    (tmp_path / "own.py").write_text(
        "from foundation import Record\n"
        "class Town(Record, table='towns', key='town'):\n    town: str\n"
        "class Tram(Record, table='trams', key='tram', references={'town': 'towns'}):\n    tram: int\n    town: str\n"
    )
    (tmp_path / "towns.csv").write_text("town\nPune\nAgra\n")
    (tmp_path / "trams.csv").write_text("tram,town\n1,Pune\n2,Surat\n3,Agra\n")
    sources = load_sources(tmp_path / "own.py")

    ingest(tmp_path, db, sources=sources)

    assert query(db, "SELECT tram FROM trams") == [1, 3]
    assert reasons(db, "trams") == [(2, "relation", "orphan", "town")]


def test_sqlite_looks_again_whatever_ends_the_load(db):
    orders = next(source for source in foundation.SOURCES if source.name == "orders")
    with Store(db) as store:
        for source in foundation.SOURCES:
            store.prepare(source)
        with (
            suppress(KeyboardInterrupt),
            known_parents(store, orders, 1, min_size=0, bytes_per_key=1),
            store.transaction(),
        ):
            raise KeyboardInterrupt

        assert store.execute("PRAGMA foreign_keys").fetchone() == (1,)
