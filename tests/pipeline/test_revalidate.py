import dataclasses
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from foundation import SOURCES, Record, StoreError
from foundation.pipeline.revalidate import replay
from foundation.store.database import Store
from foundation.store.ledger import begin_run
from tests.support.deliveries import append, header, line, write_delivery, write_file
from tests.support.inspection import content, counted, counts, keys, open_rejects, query, reasons, snapshot
from tests.support.loading import ingest
from tests.support.processes import in_child, kill_at

CLIENTS = SOURCES[0]

WAITING = {
    "clients": [{}],
    "drivers": [{}],
    "warehouses": [{}],
    "orders": [{}, {"client_id": 2}, {"client_id": 3}],
    "fleet_logs": [{}, {"order_id": 2}, {"order_id": 2, "driver_id": 2}],
    "warehouse_logs": [{"order_id": 2}],
    "feedback": [{"order_id": 3}, {"order_id": 2}],
}


@pytest.fixture
def waiting(tmp_path: Path, db: Path) -> Path:
    """A delivery loaded without client 2 and 3 and driver 2: orders wait for them, and logs wait for the orders."""
    data = write_delivery(tmp_path / "data", **WAITING)
    ingest(data, db)
    return data


def releases(run: Any) -> dict[str, tuple[int, ...]]:
    return {load.source: counts(load) for load in run.loads if load.kind == "release"}


def test_what_waits_says_for_what(waiting, db):
    assert reasons(db, "orders") == [(2, "relation", "orphan", "client_id"), (3, "relation", "orphan", "client_id")]
    assert reasons(db, "fleet_logs") == [
        (2, "relation", "parent_rejected", "order_id"),
        (3, "relation", "parent_rejected", "order_id"),
        (3, "relation", "orphan", "driver_id"),
    ]


def test_a_parent_that_arrives_releases_children_and_theirs_in_one_run(waiting, db):
    append(waiting / "clients.csv", line("clients", 2))

    run = ingest(waiting, db)

    assert releases(run) == {
        "orders": (1, 1, 0, 0, 0), "fleet_logs": (1, 1, 0, 0, 0),
        "warehouse_logs": (1, 1, 0, 0, 0), "feedback": (1, 1, 0, 0, 0),
    }  # fmt: skip
    assert (keys(db, "orders"), keys(db, "fleet_logs"), keys(db, "feedback")) == ([1, 2], [1, 2], [2])
    assert reasons(db, "orders") == [(3, "relation", "orphan", "client_id")]


def test_a_record_that_still_waits_says_for_what_only(waiting, db):
    append(waiting / "clients.csv", line("clients", 2))

    ingest(waiting, db)

    assert reasons(db, "fleet_logs") == [(3, "relation", "orphan", "driver_id")]


def test_a_released_record_keeps_its_reasons_and_its_place(waiting, db):
    append(waiting / "clients.csv", line("clients", 2))

    ingest(waiting, db)

    assert reasons(db, "orders", "released") == [(2, "relation", "orphan", "client_id")]
    assert query(db, "SELECT _record, kind FROM orders JOIN _loads ON load_id = _load") == [(1, "file"), (2, "release")]


def test_what_is_released_is_counted_by_the_load_that_stores_it(waiting, db):
    before = counted(db)
    append(waiting / "clients.csv", line("clients", 2))

    ingest(waiting, db)

    assert counted(db)[: len(before)] == before
    assert ("orders", "release", "complete", 1, 1, 0, 0, 0) in counted(db)
    assert query(db, "SELECT sum(records) FROM _chunks JOIN _loads USING (load_id) WHERE kind = 'release'") == [4]


def test_the_checks_of_what_is_released_are_counted(tmp_path, db):
    data = write_delivery(tmp_path / "data", orders=[{"amount": 0}])
    ingest(data, db)
    append(data / "clients.csv", line("clients", 1))

    ingest(data, db)

    sql = "SELECT l.kind, name, value FROM _stats s JOIN _loads l USING (load_id) WHERE s.kind = 'check' AND value > 0"
    broken = query(db, sql)
    assert broken == [("release", "amount_is_positive", 1)]


def test_releasing_gives_what_loading_the_parents_first_gives(waiting, db, tmp_path):
    append(waiting / "clients.csv", line("clients", 2) + line("clients", 3))
    append(waiting / "drivers.csv", line("drivers", 2))

    ingest(waiting, db, chunk_size=1)
    ingest(waiting, tmp_path / "at_once.db")

    assert snapshot(db) == snapshot(tmp_path / "at_once.db")
    assert open_rejects(db) == []


def test_nothing_is_released_when_nothing_has_arrived(waiting, db):
    before = query(db, "SELECT * FROM _loads WHERE status <> 'skipped'"), snapshot(db)

    run = ingest(waiting, db)

    assert releases(run) == {}
    assert (query(db, "SELECT * FROM _loads WHERE status <> 'skipped'"), snapshot(db)) == before


@pytest.mark.parametrize(
    "damaged",
    [
        line("clients", 2).replace("Acme", 'Acme, "Ltd"'),
        "2,Acme\n",
        line("clients", 2, city=None),
        line("clients", "0002", created_at="yesterday"),
        line("clients", 2).encode().replace(b"Pune", b"P\xfcne"),
    ],
    ids=["stray quote", "too few fields", "missing value", "leading zeros", "not UTF-8"],
)
def test_a_parent_that_was_rejected_is_told_apart_and_releases_when_it_is_corrected(waiting, db, damaged):
    write_file(waiting, "clients", {}, damaged)
    ingest(waiting, db)
    told = reasons(db, "orders")
    write_file(waiting, "clients", {}, {})

    ingest(waiting, db)

    assert told == [(2, "relation", "parent_rejected", "client_id"), (3, "relation", "orphan", "client_id")]
    assert reasons(db, "orders") == [(3, "relation", "orphan", "client_id")]
    assert keys(db, "warehouse_logs") == [1]


def test_a_rejected_parent_that_leaves_its_file_makes_orphans(waiting, db):
    write_file(waiting, "clients", {}, {"city": None})
    ingest(waiting, db)
    write_file(waiting, "clients", {}, {"key": 5})

    ingest(waiting, db)

    assert reasons(db, "orders") == [(2, "relation", "orphan", "client_id"), (3, "relation", "orphan", "client_id")]


def test_the_first_of_two_waiting_records_with_one_key_is_stored(tmp_path, db):
    data = write_delivery(tmp_path / "data", orders=[{}, {"key": 1, "amount": 7}, {"key": 1, "client_id": 9}])
    ingest(data, db)
    append(data / "clients.csv", line("clients", 1))

    ingest(data, db)

    assert query(db, "SELECT amount FROM orders") == [99.5]
    assert reasons(db, "orders") == [(2, "key", "duplicate_key", "order_id"), (3, "relation", "orphan", "client_id")]
    assert query(db, "SELECT message FROM _errors WHERE code = 'duplicate_key'") == [
        "record 1 of this file has this key already"
    ]


def test_a_waiting_record_finds_its_key_taken_by_a_later_record_of_its_file(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=[{}], orders=[{"key": 5, "client_id": 2}, {"key": 5}])
    ingest(data, db)
    append(data / "clients.csv", line("clients", 2))

    ingest(data, db)

    assert query(db, "SELECT client_id FROM orders") == [1]
    assert reasons(db, "orders") == [(1, "key", "duplicate_key", "order_id")]


def test_a_released_key_is_taken_when_the_file_grows(waiting, db):
    append(waiting / "clients.csv", line("clients", 2))
    ingest(waiting, db)
    append(waiting / "orders.csv", line("orders", 2, client_id=1))

    ingest(waiting, db)

    assert reasons(db, "orders")[-1] == (4, "key", "duplicate_key", "order_id")


def test_what_an_old_file_holds_does_not_undo_a_newer_one_when_it_is_judged_again(tmp_path, db):
    old = write_delivery(tmp_path / "old", clients=[{}, {"city": None}])
    newer = write_delivery(tmp_path / "newer", clients=[{}, {"city": "Goa"}])
    ingest(old, db)
    ingest(newer, db)
    lenient = dataclasses.replace(
        CLIENTS, columns=tuple(dataclasses.replace(c, required=False) for c in CLIENTS.columns)
    )

    with Store(db) as store:
        begin_run(store, "replay", {})
        loads = replay(store, [lenient], "replay")

    assert loads == []
    assert query(db, "SELECT city FROM clients ORDER BY client_id") == ["Pune", "Goa"]
    assert reasons(db, "clients", "waived") == [(2, "schema", "missing", "city")]


def test_what_waits_in_an_old_file_does_not_undo_a_newer_one(waiting, db, tmp_path):
    newer = write_delivery(tmp_path / "newer", clients=[{}, {}], orders=[{}, {"client_id": 2, "status": "Returned"}])

    run = ingest(newer, db)

    assert query(db, "SELECT status FROM orders WHERE order_id = 2") == ["Returned"]
    assert "orders" not in releases(run)
    assert reasons(db, "orders", "waived") == [(2, "relation", "orphan", "client_id")]


@pytest.mark.parametrize(("status", "second"), [("Returned", (1, 0, 1, 0, 0)), ("Delivered", (1, 0, 0, 1, 0))])
def test_what_waits_in_two_files_is_released_in_their_order(waiting, db, tmp_path, status, second):
    newer = write_delivery(tmp_path / "newer", orders=[{}, {"client_id": 2, "status": status}])
    ingest(newer, db)
    append(waiting / "clients.csv", line("clients", 2))

    run = ingest(waiting, db)

    assert query(db, "SELECT status FROM orders WHERE order_id = 2") == [status]
    released = [counts(load) for load in run.loads if (load.source, load.kind) == ("orders", "release")]
    assert released == [(1, 1, 0, 0, 0), second]


def test_children_of_a_refused_file_are_released_when_it_comes(waiting, db):
    path = waiting / "clients.csv"
    good = path.read_bytes()
    path.write_text(header("clients").replace("city", "town"))
    ingest(waiting, db)
    path.write_bytes(good + line("clients", 3).encode())

    run = ingest(waiting, db)

    assert run.status == "complete"
    assert keys(db, "orders") == [1, 3]


def test_a_stopped_run_releases_nothing_until_it_went_to_its_end(waiting, db):
    append(waiting / "clients.csv", line("clients", 2))

    stopped = ingest(waiting, db, is_stopped=lambda: True)
    resumed = ingest(waiting, db)

    assert (stopped.status, releases(stopped)) == ("stopped", {})
    assert releases(resumed)["orders"] == (1, 1, 0, 0, 0)


@pytest.fixture
def many(tmp_path: Path, db: Path) -> Path:
    """A delivery in which 2,100 orders wait for a client that has come since the load."""
    data = write_delivery(tmp_path / "data", orders=[{}] * 2_100)
    ingest(data, db)
    append(data / "clients.csv", line("clients", 1))
    return data


def test_a_release_that_is_killed_leaves_all_waiting_and_is_done_again(many, db):
    assert in_child(lambda: (kill_at("recover", 2), ingest(many, db))) == -signal.SIGKILL
    halfway = keys(db, "orders"), len(open_rejects(db))

    ingest(many, db)

    assert halfway == ([], 2_100)
    assert counted(db)[-1] == ("orders", "release", "complete", 2_100, 2_100, 0, 0, 0)
    assert open_rejects(db) == []


def test_a_release_that_does_not_add_up_leaves_all_waiting(waiting, db):
    before = snapshot(db)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(
            "CREATE TRIGGER lose AFTER INSERT ON orders BEGIN DELETE FROM orders WHERE order_id = 2; END"
        )
    append(waiting / "clients.csv", line("clients", 2))

    with pytest.raises(StoreError, match=r"orders\.csv: records do not add up: 1 read, 0 stored, 0 rejected"):
        ingest(waiting, db)
    assert open_rejects(db) == before[1]


class Employee(Record, table="employees", key="number", references={"manager": "employees"}):
    number: int
    manager: int | None = None


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 1000])
def test_records_may_wait_for_others_of_their_own_file(tmp_path, db, chunk_size):
    lines = ["number,manager", "1,1", "2,3", "3,4", "4,1", "5,9", "6,5", "7,2", "8,"]  # 2 waits for 3, 3 for 4
    (tmp_path / "employees.csv").write_text("\n".join(lines))

    run = ingest(tmp_path, db, sources=[Employee.__source__], chunk_size=chunk_size)

    stored = query(db, "SELECT number, manager FROM employees ORDER BY 1")
    assert counts(run.loads[0]) == (8, 3, 0, 0, 5)
    assert stored == [(1, 1), (2, 3), (3, 4), (4, 1), (7, 2), (8, None)]
    assert reasons(db, "employees") == [
        (5, "relation", "orphan", "manager"),
        (6, "relation", "parent_rejected", "manager"),
    ]


def test_a_release_leaves_the_content_of_others_alone(waiting, db):
    before = content(db)
    append(waiting / "drivers.csv", line("drivers", 2))

    ingest(waiting, db)

    assert {source: rows for source, rows in content(db).items() if source != "drivers"} == {
        source: rows for source, rows in before.items() if source != "drivers"
    }
