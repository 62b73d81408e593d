import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation import SOURCES, Record, Source, StoreError
from foundation.reader.reader import Damaged
from foundation.reader.recovery import Error
from foundation.schema.validator import Row
from foundation.store.database import Store
from foundation.store.ledger import Load, begin_run, save_load
from foundation.store.rejects import save_rejects
from foundation.store.writer import TableWriter, WriteResult
from tests.support.deliveries import SOUND

SOURCE = {source.name: source for source in SOURCES}


@pytest.fixture
def store(db: Path) -> Iterator[Store]:
    """All tables, client 1, driver 1 and order 1, stored by load 1."""
    with Store(db) as store:
        for source in SOURCES:
            store.prepare(source)
        begin_run(store, "run", {})
        for source in ("clients", "drivers", "orders"):
            write_rows(store, source, row(source, 1), load=1)
        yield store


def row(source: str, key: int, **values: object) -> Row:
    """A sound row as the judge gives it."""
    fields = SOUND[source] | {SOURCE[source].key: key} | values
    return tuple(c.kind(fields[c.name]) if fields[c.name] and c.kind in (int, float) else fields[c.name]
                 for c in SOURCE[source].columns)  # fmt: skip


def write_rows(
    store: Store, source: str, *rows: Row, load: int, first: int = 1, same_file: tuple[int, ...] = ()
) -> WriteResult:
    return write_source(store, SOURCE[source], *rows, load=load, first=first, same_file=same_file)


def write_source(
    store: Store, source: Source, *rows: Row, load: int, first: int = 1, same_file: tuple[int, ...] = ()
) -> WriteResult:
    stamped = [(*row, record) for record, row in enumerate(rows, first)]
    with store.transaction():
        written = Load(source.name, "", 0, "", "run", load_id=load, origin=load)
        save_load(store, written)
        return TableWriter(store, source, written, set(same_file)).write(stamped)


def reject(store: Store, source: Source, key: str | None) -> None:
    with store.transaction():
        load = Load(source.name, "", 0, "", "run")
        save_load(store, load)
        save_rejects(store, source, load, [(Damaged(1, [Error("schema", "missing", None, None, "")], key), None, b"")])


def told(result: WriteResult) -> list[tuple[int, str | None, list[tuple[str, str | None, str | None]]]]:
    """Record, key and code, column, value of every error."""
    return [(d.record, d.key, [(e.code, e.column, e.value) for e in d.errors]) for d in result.rejected]


def stamps(store: Store, source: str) -> list[tuple[int, int, int]]:
    """Key, load and record of every row."""
    return store.execute(f"SELECT {SOURCE[source].key}, _load, _record FROM {source} ORDER BY 1").fetchall()


def test_new_rows_are_inserted(store):
    result = write_rows(store, "clients", row("clients", 2), row("clients", 3), load=2)

    assert result == WriteResult(2, 0, 0, [])
    assert stamps(store, "clients") == [(1, 1, 1), (2, 2, 1), (3, 2, 2)]


def test_rows_of_another_file_are_updated_when_they_differ(store):
    rows = [row("clients", 1, city="Thane"), row("clients", 2)]

    result = write_rows(store, "clients", *rows, load=2)

    assert result == WriteResult(1, 1, 0, [])
    assert store.execute("SELECT client_id, city, _load FROM clients").fetchall() == [(1, "Thane", 2), (2, "Pune", 2)]


def test_rows_that_do_not_differ_are_unchanged_and_belong_to_the_new_load(store):
    result = write_rows(store, "clients", row("clients", 1), load=2, first=7)

    assert result == WriteResult(0, 0, 1, [])
    assert stamps(store, "clients") == [(1, 2, 7)]


@pytest.mark.parametrize("value", ["", "Incorrect address"], ids=["to missing", "from missing"])
def test_a_value_that_comes_or_goes_is_a_change(store, value):
    write_rows(store, "orders", row("orders", 2, failure_reason=value), load=2)
    other = {"": "Stockout"}.get(value, "")

    result = write_rows(store, "orders", row("orders", 2, failure_reason=other), load=3)

    assert result == WriteResult(0, 1, 0, [])
    assert store.execute("SELECT failure_reason FROM orders WHERE order_id = 2").fetchone() == (other or None,)


def test_updating_a_parent_keeps_its_children(store):
    write_rows(store, "clients", row("clients", 1, city="Thane"), load=2)

    assert stamps(store, "orders") == [(1, 1, 1)]


def test_updating_a_parent_does_not_search_for_its_children(store):
    write_rows(store, "orders", *(row("orders", key) for key in range(2, 3_000)), load=2)
    thousands_of_steps: list[int] = []
    store.connection.set_progress_handler(lambda: thousands_of_steps.append(1), 1_000)

    write_rows(store, "clients", row("clients", 1, city="Thane"), load=3)

    assert len(thousands_of_steps) <= 2


def test_the_first_record_with_a_key_wins_and_the_second_names_it(store):
    result = write_rows(store, "clients", row("clients", 5), row("clients", 6), row("clients", 5), load=2, first=11)

    assert told(result) == [(13, "5", [("duplicate_key", "client_id", "5")])]
    assert result.rejected[0].errors[0].message == "record 11 of this file has this key already"
    assert stamps(store, "clients")[1:] == [(5, 2, 11), (6, 2, 12)]


def test_the_first_record_wins_over_chunk_borders(store):
    write_rows(store, "clients", row("clients", 5), load=2, first=1)

    result = write_rows(store, "clients", row("clients", 5, city="Thane"), load=2, first=2)

    assert told(result) == [(2, "5", [("duplicate_key", "client_id", "5")])]


def test_the_first_record_wins_over_the_loads_of_one_file(store):
    result = write_rows(store, "clients", row("clients", 1, city="Thane"), load=2, first=9, same_file=(1, 2))

    assert result.rejected[0].errors[0].message == "record 1 of this file has this key already"
    assert stamps(store, "clients") == [(1, 1, 1)]


def test_the_first_of_two_updates_wins(store):
    result = write_rows(store, "clients", row("clients", 1, city="Thane"), row("clients", 1, city="Goa"), load=2)

    assert (result.updated, told(result)) == (1, [(2, "1", [("duplicate_key", "client_id", "1")])])
    assert store.execute("SELECT city FROM clients").fetchall() == [("Thane",)]


def test_a_key_that_only_a_rejected_record_used_is_free(store):
    result = write_rows(store, "orders", row("orders", 5, client_id=9), row("orders", 5), load=2)

    assert told(result) == [(1, "5", [("orphan", "client_id", "9")])]
    assert stamps(store, "orders") == [(1, 1, 1), (5, 2, 2)]


def test_a_record_that_is_both_orphan_and_duplicate_is_an_orphan(store):
    result = write_rows(store, "orders", row("orders", 5), row("orders", 5, client_id=9), load=2)

    assert told(result) == [(2, "5", [("orphan", "client_id", "9")])]


def test_every_reference_that_leads_nowhere_is_reported(store):
    reject(store, SOURCE["drivers"], "8")

    result = write_rows(
        store, "fleet_logs", row("fleet_logs", 1, order_id=7, driver_id=8), row("fleet_logs", 2), load=2
    )

    assert told(result) == [(1, "1", [("orphan", "order_id", "7"), ("parent_rejected", "driver_id", "8")])]
    assert result.inserted == 1


@pytest.mark.parametrize(
    ("key", "code"),
    [("9", "parent_rejected"), ("0009", "parent_rejected"), ("99", "orphan"), (None, "orphan"), ("nine", "orphan")],
    ids=["its key", "with leading zeros", "another key", "no key to be read", "no number"],
)
def test_a_child_of_a_rejected_parent_is_told_apart_from_an_orphan(store, key, code):
    reject(store, SOURCE["clients"], key)

    result = write_rows(store, "orders", row("orders", 5, client_id=9), load=3)

    assert told(result) == [(1, "5", [(code, "client_id", "9")])]


def test_a_rejected_record_of_another_source_is_no_parent(store):
    reject(store, SOURCE["drivers"], "9")

    result = write_rows(store, "orders", row("orders", 5, client_id=9), load=3)

    assert told(result) == [(1, "5", [("orphan", "client_id", "9")])]


def test_a_reject_that_is_closed_is_no_parent(store):
    reject(store, SOURCE["clients"], "9")
    store.execute("UPDATE _rejects SET status = 'waived'")

    result = write_rows(store, "orders", row("orders", 5, client_id=9), load=3)

    assert told(result) == [(1, "5", [("orphan", "client_id", "9")])]


@pytest.mark.parametrize("key", [1, 2**63 - 1], ids=["smallest", "largest"])
def test_keys_of_64_bits_are_found_again(store, key):
    write_rows(store, "clients", row("clients", key), load=2)

    again = write_rows(store, "clients", row("clients", key), load=3)

    assert again == WriteResult(0, 0, 1, [])


def test_parents_are_looked_up_by_their_key_and_not_by_reading_their_table(store):
    sql = "EXPLAIN QUERY PLAN SELECT value FROM json_each(?) WHERE value NOT IN (SELECT client_id FROM clients)"

    plan = [step[3] for step in store.execute(sql, (json.dumps([1, 2]),))]

    assert plan == ["SCAN json_each VIRTUAL TABLE INDEX 1:", "USING ROWID SEARCH ON TABLE clients FOR IN-OPERATOR"]


def test_other_errors_than_conflicts_are_not_mistaken_for_them(store):
    store.execute("DROP TABLE feedback")

    with pytest.raises(StoreError, match="no such table: feedback"):
        write_rows(store, "feedback", row("feedback", 1), load=2)


class Country(Record, table="countries", key="code"):
    code: str
    name: str


class City(Record, table="cities", key="city", references={"country": "countries"}):
    city: str
    country: str | None = None


class Employee(Record, table="employees", key="number", references={"manager": "employees"}):
    number: int
    manager: int | None = None


@pytest.fixture
def cities(store: Store) -> Store:
    for model in (Country, City, Employee):
        store.prepare(model.__source__)
    return store


def test_texts_are_keys_character_for_character(cities):
    write_source(cities, Country.__source__, ("IN", "India"), ("007", "Bond"), load=2)

    result = write_source(cities, City.__source__, ("Pune", "IN"), ("Thane", "in"), ("Goa", "7"), load=3)

    assert told(result) == [(2, "Thane", [("orphan", "country", "in")]), (3, "Goa", [("orphan", "country", "7")])]


@pytest.mark.parametrize(("country", "code"), [("007", "parent_rejected"), ("7", "orphan")])
def test_a_rejected_parent_with_a_text_for_a_key_is_known_character_for_character(cities, country, code):
    reject(cities, Country.__source__, "007")

    result = write_source(cities, City.__source__, ("Pune", country), load=3)

    assert told(result) == [(1, "Pune", [(code, "country", country)])]


def test_a_missing_reference_is_no_orphan(cities):
    result = write_source(cities, City.__source__, ("Atlantis", ""), ("Atlantis", ""), ("Pune", "IN"), load=2)

    assert told(result) == [
        (2, "Atlantis", [("duplicate_key", "city", "Atlantis")]),
        (3, "Pune", [("orphan", "country", "IN")]),
    ]
