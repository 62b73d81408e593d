import gc
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from inspect import signature
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

import foundation.pipeline.load
from foundation import SOURCES, Load, Run, SchemaError, SourceError, StoreError
from tests.support.deliveries import ALL, FAULTS, STORED, Row, append, header, line, write_delivery, write_file
from tests.support.inspection import content, counted, counts, keys, open_rejects, query, reasons, snapshot
from tests.support.loading import ingest, tuned
from tests.support.processes import in_child, kill_at

CHUNK_SIZES = [1, 2, 3, 7, 1000]


@pytest.fixture
def undisturbed(faulty_data: Path, tmp_path: Path) -> Path:
    """The database that a load of the faulty delivery gives when nothing comes between."""
    ingest(faulty_data, tmp_path / "undisturbed.db")
    return tmp_path / "undisturbed.db"


def load_of(run: Any, source: str) -> Load:
    """The one load of a source in a run."""
    (load,) = (load for load in run.loads if load.source == source)
    return load


def stops_after(chunks: int) -> Callable[[], bool]:
    """Asks for a stop after so many chunks."""
    asked = count(1)
    return lambda: next(asked) >= chunks


def dies_after(chunks: int) -> Callable[[Load, int, int], None]:
    """Kills the process after so many chunks."""
    done = count(1)
    return lambda *_: os.kill(os.getpid(), signal.SIGKILL) if next(done) >= chunks else None


# What a load gives


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_every_record_is_stored_or_rejected_with_its_reasons(faulty_data, db, chunk_size):
    ingest(faulty_data, db, chunk_size=chunk_size)

    assert {source: keys(db, source) for source in ALL} == STORED
    assert {source: reasons(db, source) for source in ALL} == FAULTS


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_the_counts_add_up_and_are_those_of_the_tables(faulty_data, db, chunk_size):
    run = ingest(faulty_data, db, chunk_size=chunk_size)

    for load in run.loads:
        assert load.read == load.inserted + load.updated + load.unchanged + load.rejected
        assert load.read == sum(query(db, "SELECT records FROM _chunks WHERE load_id = ?", load.load_id))
        assert [load.inserted] == query(db, f"SELECT count(*) FROM {load.source} WHERE _load = ?", load.load_id)
        assert [load.rejected] == query(db, "SELECT count(*) FROM _rejects WHERE load_id = ?", load.load_id)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_content_and_rejects_do_not_depend_on_the_chunk_size(faulty_data, db, undisturbed, chunk_size):
    ingest(faulty_data, db, chunk_size=chunk_size)

    assert snapshot(db) == snapshot(undisturbed)
    assert counted(db) == counted(undisturbed)


def shuffled(seed: int) -> list[str]:
    return random.Random(seed).sample(ALL, len(ALL))  # noqa: S311  # an order, not a secret


@pytest.mark.parametrize(
    "order",
    [ALL, ALL[::-1], ("orders", "feedback", *ALL), *map(shuffled, range(6))],
    ids=["parents first", "children first", "some twice", *map(str, range(6))],
)
def test_content_and_rejects_do_not_depend_on_the_order_of_the_files(faulty_data, db, undisturbed, order):
    for source in order:
        ingest(faulty_data, db, only=[source], chunk_size=2)

    assert snapshot(db) == snapshot(undisturbed)


def test_the_bytes_of_a_reject_are_those_at_its_place_in_the_file(faulty_data, db):
    ingest(faulty_data, db, chunk_size=2)

    for source, _, first, last, start, end, raw, *_ in open_rejects(db):
        whole = (faulty_data / f"{source}.csv").read_bytes()
        assert whole[start:end] == raw
        assert (whole[:start].count(b"\n") + 1, whole[:end].count(b"\n")) == (first, last)


def test_text_is_stored_character_for_character(tmp_path, db):
    odd = {"client_name": " NULL", "contact_person": "Zoë\u202eO'Hara", "address_line1": 'a "b",\r\nc', "city": "nan"}
    data = write_delivery(tmp_path / "data", clients=[odd])

    ingest(data, db)

    assert query(db, f"SELECT {', '.join(odd)} FROM clients") == [tuple(odd.values())]


def test_progress_tells_the_bytes_done_of_each_file_after_each_chunk(data, db):
    told: list[tuple[str, int, int, int]] = []

    ingest(data, db, chunk_size=4, progress=lambda load, done, size: told.append((load.source, load.read, done, size)))

    size = (data / "orders.csv").stat().st_size
    assert [t[1:] for t in told if t[0] == "orders"] == [(4, told[3][2], size), (6, size, size)]
    assert [t[0] for t in told] == ["clients", "drivers", "warehouses", "orders", *ALL[3:]]


def test_what_was_there_before_a_load_is_not_searched_for_garbage_meanwhile(data, db):
    put_aside: list[int] = []

    ingest(data, db, progress=lambda *told: put_aside.append(gc.get_freeze_count()))

    assert min(put_aside) > 1_000
    assert gc.get_freeze_count() == 0


def test_a_reader_sees_whole_chunks_only(faulty_data, db):
    seen = []

    def look(load: Load, *_: int) -> None:
        rejects = query(db, "SELECT count(*) FROM _rejects WHERE load_id = ?", load.load_id)
        stored = query(db, f"SELECT count(*) FROM {load.source} WHERE _load = ?", load.load_id)
        seen.append((load.source, *stored, *rejects))

    ingest(faulty_data, db, chunk_size=5, only=["clients", "orders"], progress=look)
    assert seen == [("clients", 2, 3), ("clients", 3, 4), ("orders", 3, 2), ("orders", 4, 6), ("orders", 5, 7)]


@pytest.fixture(params=[100_000, 0], ids=["small", "large"])
def counting(request: pytest.FixtureRequest) -> Callable[..., Run]:
    """Loads whose rows are counted after the indexes are made, or by a second connection meanwhile."""
    return tuned(large_load=request.param)


def test_checks_are_counted_for_each_load(data, db, counting):
    counting(data, db)
    late = line("orders", 7, promised_delivery_date="2024-12-31 08:00:00", amount=0)
    append(data / "orders.csv", late + line("orders", 8, pincode="11001"))

    load = load_of(counting(data, db, only=["orders"]), "orders")

    counted = dict(query(db, "SELECT name, value FROM _stats WHERE load_id = ? AND kind = 'check'", load.load_id))
    assert {name for name, rows in counted.items() if rows} == {
        "promised_after_ordered", "amount_is_positive", "pincode_has_six_digits",
    }  # fmt: skip
    assert counted.keys() == {name for s in SOURCES if s.name == "orders" for name in s.checks}


def test_a_check_across_tables_counts_the_rows_that_break_it(tmp_path, db):
    data = write_delivery(
        tmp_path / "data", clients=[{}], orders=[{}], drivers=[{}, {"status": "Inactive"}],
        fleet_logs=[{}, {"driver_id": 2}, {"driver_id": 2}],
    )  # fmt: skip

    ingest(data, db)

    assert query(db, "SELECT value FROM _stats WHERE kind = 'check' AND name = 'driver_is_active'") == [2]


def test_an_unknown_column_is_a_warning_that_names_it(data, db):
    path = data / "warehouses.csv"
    path.write_text("".join(f"{text},{extra}\n" for text, extra in zip(path.read_text().split(), "ab", strict=False)))
    path.write_text("colour," + header("warehouses") + "red," + line("warehouses", 1))

    run = ingest(data, db)

    assert load_of(run, "warehouses").warnings == ["unknown columns are left out: colour"]
    assert query(db, "SELECT warnings FROM _loads WHERE source = 'warehouses'") == [
        '["unknown columns are left out: colour"]'
    ]
    assert keys(db, "warehouses") == [1]


def test_a_column_of_spreadsheet_dates_is_told_once(tmp_path, db):
    dated = [{"created_at": f"3/{day}/2025 8:48"} for day in range(1, 8)]
    data = write_delivery(tmp_path / "data", clients=dated)

    run = ingest(data, db, chunk_size=3)

    (warning,) = load_of(run, "clients").warnings
    assert warning.startswith("created_at: 7 of 7 records are refused for values like '3/1/2025 8:48': a spreadsheet's")


# Loading again


def test_a_file_that_has_not_changed_is_skipped(faulty_data, db):
    ingest(faulty_data, db)
    before = snapshot(db)

    run = ingest(faulty_data, db)

    assert {load.status for load in run.loads} == {"skipped"}
    assert {counts(load) for load in run.loads} == {(0, 0, 0, 0, 0)}
    assert snapshot(db) == before


def test_a_file_is_read_again_when_that_is_asked_for(faulty_data, db):
    first = ingest(faulty_data, db)
    before = snapshot(db)

    second = ingest(faulty_data, db, again=True, chunk_size=2)

    stored = [(load.read, 0, 0, load.inserted, load.rejected) for load in first.loads]
    assert [counts(load) for load in second.loads] == stored
    assert snapshot(db) == before


def test_the_same_file_in_another_folder_is_loaded_by_key(data, db, tmp_path):
    ingest(data, db)
    moved = data.rename(tmp_path / "moved")

    run = ingest(moved, db)

    assert counts(load_of(run, "orders")) == (6, 0, 0, 6, 0)


@pytest.mark.parametrize("end", ["", "\n", "\n\n"], ids=["no line end", "a line end", "a blank line"])
def test_a_file_of_a_header_only_is_a_complete_load_of_nothing(data, db, end):
    (data / "feedback.csv").write_text(header("feedback").rstrip() + end)

    statuses = [(load.status, counts(load)) for load in (load_of(ingest(data, db), "feedback") for _ in range(2))]

    assert statuses == [("complete", (0, 0, 0, 0, 0)), ("skipped", (0, 0, 0, 0, 0))]


@pytest.mark.parametrize("end", ["", "\n"], ids=["no line end", "a line end"])
def test_a_file_of_a_header_only_may_grow(data, db, end):
    path = data / "feedback.csv"
    path.write_text(header("feedback").rstrip() + end)
    ingest(data, db)
    path.write_text(header("feedback") + line("feedback", 1))

    run = ingest(data, db)

    assert counts(load_of(run, "feedback")) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_a_file_that_has_grown_is_read_from_its_old_end(faulty_data, db, chunk_size):
    ingest(faulty_data, db, chunk_size=chunk_size)
    append(faulty_data / "orders.csv", line("orders", 13) + line("orders", 2) + line("orders", 14, status="Lost"))

    load = load_of(ingest(faulty_data, db, chunk_size=chunk_size), "orders")

    assert counts(load) == (3, 1, 0, 0, 2)
    assert keys(db, "orders") == [*STORED["orders"], 13]
    assert reasons(db, "orders")[-2:] == [
        (14, "key", "duplicate_key", "order_id"),
        (15, "schema", "literal_error", "status"),
    ]


def test_a_grown_file_gives_what_the_whole_file_gives(faulty_data, db, tmp_path):
    ingest(faulty_data, db)
    append(faulty_data / "orders.csv", line("orders", 13) + line("orders", 2) + line("orders", 14, status="Lost"))

    ingest(faulty_data, db)
    ingest(faulty_data, tmp_path / "whole.db")

    assert snapshot(db) == snapshot(tmp_path / "whole.db")


NOTE = line("warehouse_logs", 1, notes="late")
BROKEN = line("warehouse_logs", 1, notes="a\nb").replace('b"', "")  # ends inside quotes, behind a line break


@pytest.mark.parametrize(
    ("old", "growth", "counted"),
    [
        (NOTE, line("warehouse_logs", 2), (1, 1, 0, 0, 0)),
        (NOTE[:-1], "\n" + line("warehouse_logs", 2), (1, 1, 0, 0, 0)),
        (NOTE[:-1], "\r\n" + line("warehouse_logs", 2), (1, 1, 0, 0, 0)),
        (NOTE[:-1], "\n", (0, 0, 0, 0, 0)),
        (NOTE[:-1], "r\n", (1, 0, 1, 0, 0)),
        (NOTE[:-1], "r\n" + line("warehouse_logs", 2), (2, 1, 1, 0, 0)),
        (NOTE[:-1], "\r", (1, 0, 0, 1, 0)),
        (NOTE[:-1], "\rx\n", (1, 0, 0, 0, 1)),
        (NOTE[:-1] + "\r", "\n" + line("warehouse_logs", 2), (1, 1, 0, 0, 0)),
        (NOTE[:-1] + "\r", "\r\n" + line("warehouse_logs", 2), (2, 1, 0, 0, 1)),
        (NOTE[:-9], NOTE[-9:], (1, 1, 0, 0, 0)),
        (BROKEN, 'b"\n' + line("warehouse_logs", 2), (2, 2, 0, 0, 0)),
    ],
    ids=[
        "by a line",
        "by a line end and a line",
        "by CRLF and a line",
        "by its line end",
        "by the rest of its last line",
        "by the rest and a line",
        "by half a line end",
        "by half a line end and more",
        "by the other half",
        "by a line end after half of one",
        "by lacking fields",
        "inside quotes",
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk_size", [1, 1000])
def test_a_file_may_have_grown_in_any_way(data, tmp_path, db, old, growth, counted, chunk_size):
    path = data / "warehouse_logs.csv"
    path.write_bytes((header("warehouse_logs") + old).encode())
    ingest(data, db, chunk_size=chunk_size)
    append(path, growth)
    grown = load_of(ingest(data, db, chunk_size=chunk_size), "warehouse_logs")
    append(path, line("warehouse_logs", 1, notes="doubled"))
    ingest(data, db, chunk_size=chunk_size)

    ingest(data, tmp_path / "whole.db", chunk_size=chunk_size)
    assert counts(grown) == counted
    assert open_rejects(db) == open_rejects(tmp_path / "whole.db")
    assert growth[:1] == "\r" or content(db) == content(tmp_path / "whole.db")  # a row once stored stays


def test_a_file_that_has_changed_is_loaded_again_by_key(data, db):
    ingest(data, db)
    changed = [{"client_id": 1}, {"client_id": 2, "amount": 7}, {"key": 9}, {"key": 4}, {"key": 4}]
    write_file(data, "orders", *changed)

    load = load_of(ingest(data, db, chunk_size=2), "orders")

    assert counts(load) == (5, 1, 1, 2, 1)
    assert keys(db, "orders") == [1, 2, 3, 4, 5, 6, 9]
    assert query(db, "SELECT amount FROM orders WHERE order_id = 2") == [7.0]


def test_a_changed_file_waives_the_open_rejects_of_its_earlier_version(faulty_data, db):
    ingest(faulty_data, db)
    write_file(faulty_data, "clients", {}, {}, {"key": 9, "city": None})

    ingest(faulty_data, db, only=["clients"])

    assert reasons(db, "clients") == [(3, "schema", "missing", "city")]
    assert [record for record, *_ in reasons(db, "clients", "waived")] == [3, 4, 5, 7]


def test_a_file_is_loaded_again_when_its_declaration_has_changed(data, db):
    ingest(data, db, sources=SOURCES)
    query_before = query(db, "SELECT count(*) FROM _loads")
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE _loads SET fingerprint = 'another' WHERE source = 'orders'")

    run = ingest(data, db)

    assert {load.source for load in run.loads if load.status == "complete"} == {"orders"}
    assert counts(load_of(run, "orders")) == (6, 0, 0, 6, 0)
    assert query_before == [8]


# Stopped and killed


@pytest.mark.parametrize(("chunk_size", "later"), [(1, 1), (2, 2), (3, 1), (1, 7), (2, 1000), (7, 2)])
def test_a_load_that_is_stopped_after_every_chunk_gives_what_an_undisturbed_one_gives(
    faulty_data, db, undisturbed, chunk_size, later
):
    sizes = [chunk_size, later]
    for turn in range(60):
        run = ingest(faulty_data, db, chunk_size=sizes[turn % 2], is_stopped=lambda: True)
        if run.status == "complete":
            break

    assert 10 <= turn < 59, "the load does not end"
    assert snapshot(db) == snapshot(undisturbed)
    assert counted(db) == counted(undisturbed)


def test_a_stopped_load_says_so_and_how_it_goes_on(data, db):
    run = ingest(data, db, chunk_size=2, is_stopped=stops_after(5))

    load = load_of(run, "orders")
    assert (run.status, load.status, counts(load)) == ("stopped", "stopped", (2, 2, 0, 0, 0))
    assert load.warnings == ["stopped on request; run the same command again, it goes on behind record 2"]
    assert query(db, "SELECT status FROM _runs") == ["stopped"]


def test_a_load_that_went_on_to_its_end_no_longer_says_that_it_was_stopped(data, db):
    ingest(data, db, chunk_size=2, is_stopped=stops_after(5))

    load = load_of(ingest(data, db), "orders")

    assert (load.status, load.warnings, counts(load)) == ("complete", [], (6, 6, 0, 0, 0))


def test_a_stopped_load_of_a_file_that_then_changed_is_loaded_by_key(data, db):
    ingest(data, db, chunk_size=2, is_stopped=stops_after(6))
    write_file(data, "orders", {}, {"amount": 7}, {}, {}, {"client_id": 3})

    load = load_of(ingest(data, db, chunk_size=2), "orders")

    assert counts(load) == (5, 1, 2, 2, 0)
    assert keys(db, "orders") == [1, 2, 3, 4, 5]


def test_a_stopped_load_of_a_file_that_then_grew_goes_on(data, db):
    ingest(data, db, chunk_size=2, is_stopped=stops_after(6))
    append(data / "orders.csv", line("orders", 7) + line("orders", 2))

    load = load_of(ingest(data, db, chunk_size=3), "orders")

    assert counts(load) == (8, 7, 0, 0, 1)
    assert reasons(db, "orders") == [(8, "key", "duplicate_key", "order_id")]


def test_a_stopped_load_goes_on_when_another_file_has_taken_its_rows(data, db, tmp_path):
    newer = write_delivery(tmp_path / "newer", clients=[{}], orders=[{}, {"amount": 7}, {}])
    ingest(data, db, chunk_size=2, is_stopped=stops_after(5))
    ingest(newer, db)

    load = load_of(ingest(data, db), "orders")

    assert (load.status, counts(load)) == ("complete", (4, 3, 1, 0, 0))
    assert query(db, "SELECT amount FROM orders ORDER BY order_id") == [99.5, 7.0, 99.5, 99.5, 99.5, 99.5]
    assert query(db, "SELECT source, status FROM _loads WHERE status = 'stopped'") == [("orders", "stopped")]


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(data, db):
    path = data / "orders.csv"

    def grow(load: Load, done: int, size: int) -> None:
        if load.source == "orders" and done < size:
            append(path, line("orders", 7 + load.read))

    first = load_of(ingest(data, db, chunk_size=4, progress=grow), "orders")
    second = load_of(ingest(data, db), "orders")

    assert (counts(first), first.bytes) == ((7, 7, 0, 0, 0), path.stat().st_size)
    assert second.status == "skipped"


def test_a_load_stopped_at_the_end_of_a_line_that_then_grew_is_read_again(data, db):
    path = data / "warehouse_logs.csv"
    path.write_text(header("warehouse_logs") + NOTE[:-1])
    ingest(data, db, is_stopped=lambda: False, only=ALL[:5])
    ingest(data, db, only=["warehouse_logs"], is_stopped=lambda: True)
    append(path, "r\n")

    ingest(data, db)

    assert query(db, "SELECT notes FROM warehouse_logs") == ["later"]


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_a_load_that_is_killed_after_any_chunk_gives_what_an_undisturbed_one_gives(
    faulty_data, db, undisturbed, chunk_size
):
    ends = [in_child(lambda: ingest(faulty_data, db, chunk_size=chunk_size, progress=dies_after(1))) for _ in range(42)]

    assert -signal.SIGKILL in ends
    assert ends[-1] == 0, "the load does not end"
    assert snapshot(db) == snapshot(undisturbed)
    assert counted(db) == counted(undisturbed)


@pytest.mark.slow
def test_a_load_that_is_killed_at_any_statement_gives_what_an_undisturbed_one_gives(tmp_path):
    two = [source for source in SOURCES if source.name in ("clients", "orders")]
    orders: list[Row] = [{}, {"client_id": 9}, {"key": 1}, {"client_id": 3}]
    data = write_delivery(tmp_path / "data", clients=[{}, {"city": None}, {}], orders=orders)
    ingest(data, tmp_path / "undisturbed.db", sources=two)
    expected = snapshot(tmp_path / "undisturbed.db"), counted(tmp_path / "undisturbed.db")

    for statement in range(1, 400):
        db = tmp_path / f"{statement}.db"
        end = in_child(lambda: (kill_at("statement", statement), ingest(data, db, sources=two, chunk_size=3)))
        ingest(data, db, sources=two, chunk_size=2)
        assert (snapshot(db), counted(db)) == expected, f"killed before statement {statement}"
        if end == 0:
            break
    assert 60 < statement < 399


def test_a_grown_file_killed_before_its_first_chunk_is_not_taken_for_new(data, db):
    ingest(data, db)
    append(data / "orders.csv", line("orders", 7))
    assert in_child(lambda: (kill_at("write"), ingest(data, db))) == -signal.SIGKILL

    load = load_of(ingest(data, db), "orders")

    assert counts(load) == (1, 1, 0, 0, 0)
    assert open_rejects(db) == []


INDEXES = {f"idx_{source.name}_{'_'.join(columns)}" for source in SOURCES for columns in source.indexes}


def indexes(db: Path) -> set[str]:
    return set(query(db, "SELECT name FROM sqlite_schema WHERE name LIKE 'idx_%'"))


def test_a_load_killed_before_its_first_chunk_may_go_on_with_other_columns(data, db):
    path = data / "drivers.csv"
    assert in_child(lambda: (kill_at("write", 2), ingest(data, db))) == -signal.SIGKILL
    path.write_text(path.read_text().replace("driver_name,phone", "phone,driver_name"))

    ingest(data, db)

    headers = query(db, "SELECT header FROM drivers JOIN _loads ON load_id = _load")
    assert [json.loads(header)[1:3] for header in headers] == [["phone", "driver_name"]]


@pytest.mark.parametrize("call", [1, 4, 8, 9, 12])
def test_a_kill_between_rows_and_indexes_heals(data, db, call):
    assert in_child(lambda: (kill_at("build_indexes", call), ingest(data, db))) == -signal.SIGKILL
    before = indexes(db)

    ingest(data, db)

    assert before < INDEXES or call > 8
    assert indexes(db) == INDEXES


def test_tables_have_their_indexes_whether_or_not_their_files_were_loaded(data, db):
    ingest(data, db, only=["clients"])
    after_one = indexes(db)

    ingest(data, db, is_stopped=stops_after(2), chunk_size=1)

    assert (after_one, indexes(db)) == (INDEXES, INDEXES)


# Refused


@pytest.mark.parametrize(
    ("held", "code"),
    [
        (None, "not_found"),
        (b"", "empty_file"),
        (b"\n\n", "empty_file"),
        (header("orders").replace("amount,", "").encode(), "missing_column"),
        (header("orders").replace(",", ";").encode(), "missing_column"),
        (header("orders").replace("amount", "amount,amount").encode(), "duplicate_column"),
        (b"PK\x03\x04\0\0", "not_text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not_text"),
    ],
    ids=["missing", "empty", "blank", "lacks a column", "semicolons", "column twice", "zip", "picture"],
)
def test_a_file_that_is_refused_does_not_hold_up_the_others(data, db, held, code):
    path = data / "orders.csv"
    path.unlink()
    if held is not None:
        path.write_bytes(held)

    run = ingest(data, db)

    assert (run.status, load_of(run, "orders").status) == ("refused", "refused")
    assert reasons(db, "orders") == [(None, "file", code, None)]
    assert (keys(db, "clients"), keys(db, "orders")) == ([1, 2, 3], [])
    assert reasons(db, "feedback") == [(1, "relation", "orphan", "order_id")]


def test_a_refused_file_says_what_is_wrong_where(data, db):
    (data / "orders.csv").write_text(header("orders").replace("amount,", "price,"))

    load = load_of(ingest(data, db), "orders")

    assert load.warnings[0].startswith(f"{data / 'orders.csv'}: the header lacks amount; it has order_id, client_id,")
    assert query(db, "SELECT message FROM _errors WHERE stage = 'file'") == load.warnings


@pytest.mark.parametrize("change", ["not", "grown", "changed"])
def test_a_file_that_comes_back_is_no_longer_refused(data, db, change):
    ingest(data, db)
    path = data / "feedback.csv"
    kept = path.rename(data / "kept")
    ingest(data, db)
    kept.rename(path)
    if change != "not":
        append(path, line("feedback", 2 if change == "grown" else 1))

    run = ingest(data, db)

    assert run.status == "complete"
    assert [row for row in open_rejects(db) if row[1] is None] == []


@pytest.mark.parametrize("names", [[], ["notes.txt", "Orders.CSV"]], ids=["empty", "other files"])
def test_a_folder_without_any_of_the_files_is_refused_and_makes_no_database(tmp_path, db, names):
    folder = tmp_path / "wrong"
    folder.mkdir()
    for name in names:
        (folder / name).touch()

    with pytest.raises(
        SourceError, match="none of clients.csv, .* is there, but " + (", ".join(sorted(names)) or "nothing")
    ):
        ingest(folder, db)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "no such folder; wanted is a folder with clients.csv, "),
        ("data/orders.csv", "is a file; name the folder"),
    ],
)
def test_a_wrong_folder_is_refused_and_makes_no_database(data, db, name, message):
    with pytest.raises(SourceError, match=message) as caught:
        ingest(data.parent / name, db)

    assert caught.value.code == "not_found"
    assert list(data.parent.iterdir()) == [data]


def test_an_unknown_source_is_refused_with_the_names_there_are(data, db):
    with pytest.raises(SchemaError, match=r"no source order, trips; there are clients, drivers, .*feedback"):
        ingest(data, db, only=["orders", "trips", "order"])

    assert not db.exists()


def test_a_chunk_of_nothing_is_refused(data, db):
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        ingest(data, db, chunk_size=0)
    assert not db.exists()


def test_only_the_sources_named_are_loaded(data, db):
    run = ingest(data, db, only=["orders", "clients"])

    assert [load.source for load in run.loads] == ["clients", "orders"]
    assert keys(db, "drivers") == []


# When the disk or the memory ends


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["/usr/bin/env", "umount", folder], check=True)


@pytest.mark.parametrize("left", range(0, 1_100_000, 100_000))
def test_a_load_goes_on_when_a_full_disk_has_room_again(faulty_data, undisturbed, small_disk, left):
    (small_disk / "other").write_bytes(bytes(2 * 2**20 - left))
    db = small_disk / "test.db"

    with pytest.raises(StoreError, match=r"test\.db: .*(full|unable to open|disk I/O)"):
        ingest(faulty_data, db, chunk_size=2)
    with suppress(StoreError):
        ingest(faulty_data, db, chunk_size=2)
    (small_disk / "other").unlink()
    ingest(faulty_data, db, chunk_size=2)

    assert query(db, "PRAGMA integrity_check") == ["ok"]
    assert (snapshot(db), counted(db)) == (snapshot(undisturbed), counted(undisturbed))


@pytest.mark.parametrize("largest", range(0, 1_100_000, 100_000))
def test_a_load_goes_on_after_writing_has_failed(faulty_data, db, undisturbed, largest):
    ends = [in_child(lambda: ingest_with_small_files(faulty_data, db, largest)) for _ in range(2)]

    ingest(faulty_data, db, chunk_size=2)

    assert ends in ([3, 3], [3, 0])
    assert query(db, "PRAGMA integrity_check") == ["ok"]
    assert (snapshot(db), counted(db)) == (snapshot(undisturbed), counted(undisturbed))


def ingest_with_small_files(data: Path, db: Path, largest: int) -> None:
    """Load when no file may be larger than this many bytes: writing beyond fails."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    try:
        ingest(data, db, chunk_size=2)
    except StoreError as error:
        assert str(db) in str(error)
        sys.exit(3)


def test_a_load_that_needs_too_much_memory_stops_and_goes_on_with_more(faulty_data, db, undisturbed):
    stopped = ingest(faulty_data, db, chunk_size=3, memory_limit=1_000_000)

    resumed = ingest(faulty_data, db, chunk_size=3)

    assert (stopped.status, resumed.status) == ("stopped", "complete")
    assert "bytes of memory are in use, the limit is 1,000,000; run the same" in stopped.loads[-1].warnings[0]
    assert (snapshot(db), counted(db)) == (snapshot(undisturbed), counted(undisturbed))


def test_a_load_that_needs_much_memory_goes_on_in_smaller_chunks(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=[{}] * 700)
    used = psutil.Process().memory_info().rss

    run = ingest(data, db, chunk_size=400, memory_limit=int(used * 1.08))

    assert run.status == "complete"
    assert query(db, "SELECT records FROM _chunks ORDER BY chunk_id") == [400, 200, 100]


def test_the_peak_of_memory_is_that_of_the_process(data, db):
    load = load_of(ingest(data, db), "orders")

    assert 20_000_000 < load.peak_rss_bytes <= psutil.Process().memory_info().rss * 1.5
    assert query(db, "SELECT max(rss_bytes) FROM _chunks")[0] <= load.peak_rss_bytes * 1.5


# The ledger of a run


def test_the_public_function_is_that_of_the_room_with_the_eight_sources():
    public, ours = (signature(function).parameters for function in (foundation.ingest, foundation.pipeline.load.ingest))

    shared = {name: p.replace(default=None) for name, p in public.items()}
    assert shared == {name: p.replace(default=None) for name, p in ours.items() if name != "tuning"}
    differing = {name for name in public if public[name].default != ours[name].default}
    assert differing == {"sources", "progress", "is_stopped"}, "the last two are functions that do nothing"
    assert public["sources"].default is SOURCES


def test_a_mistake_in_counting_is_not_passed_over(data, db, counting):
    def lose_a_row(load: Load, done: int, size: int) -> None:
        if load.source == "orders" and done == size:
            with closing(sqlite3.connect(db)) as connection, connection:
                connection.execute("DELETE FROM orders WHERE order_id = 3")

    with pytest.raises(StoreError, match=r"orders\.csv: records do not add up: 6 read, 5 stored, 0 rejected"):
        counting(data, db, progress=lose_a_row)
    assert query(db, "SELECT status FROM _loads WHERE source = 'orders'") == ["running"]


def test_a_run_is_entered_with_its_options_and_versions(data, db):
    run = ingest(data, db, chunk_size=5, only=["clients"])

    ((run_id, status, options, versions),) = query(db, "SELECT run_id, status, options, versions FROM _runs")
    assert (run_id, status) == (run.run_id, "complete")
    assert json.loads(options) == {"data": str(data), "only": ["clients"], "chunk_size": 5}
    assert {"foundation", "pydantic", "python", "sqlite"} <= json.loads(versions).keys()


def test_several_calls_may_share_a_run(data, db):
    ingest(data, db, only=["clients"], run_id="shared")
    ingest(data, db, only=["drivers"], run_id="shared")

    assert query(db, "SELECT run_id, source FROM _loads") == [("shared", "clients"), ("shared", "drivers")]
    assert query(db, "SELECT run_id, status, finished IS NOT NULL FROM _runs") == [("shared", "complete", 1)]
