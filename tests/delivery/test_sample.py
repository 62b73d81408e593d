"""Sample data: the same everywhere, sound unless faults are asked for, and every fault where it is said to be."""

import csv
import sqlite3
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

from foundation.delivery.sample import Fault, write_sample
from tests.support.loading import ingest

COUNTS = {
    "clients": 15, "drivers": 60, "warehouses": 1, "orders": 300,
    "fleet_logs": 300, "warehouse_logs": 300, "external_factors": 300, "feedback": 300,
}  # fmt: skip


class Loaded(NamedTuple):
    folder: Path
    faults: list[Fault]
    db: sqlite3.Connection


@pytest.fixture(scope="module", params=[1, 40, 1_000], ids="chunks of {}".format)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    folder = tmp_path_factory.mktemp("faulty")
    faults = write_sample(folder, orders=300, faults=0.1, seed=4)
    ingest(folder, folder / "sample.db", chunk_size=request.param)
    with closing(sqlite3.connect(folder / "sample.db")) as db:
        yield Loaded(folder, faults, db)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Orders, each with one of the conditions recorded for it and one opinion."""
    folder = tmp_path_factory.mktemp("clean")
    write_sample(folder, orders=3_000)
    read = {name: _rows(folder / f"{name}.csv") for name in ("orders", "external_factors", "feedback")}
    factors, feedback = ({row["order_id"]: row for row in read[name]} for name in ("external_factors", "feedback"))
    return [factors.get(row["order_id"], {}) | feedback.get(row["order_id"], {}) | row for row in read["orders"]]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    write_sample(tmp_path / "one", orders=50, faults=0.2, seed=7)
    write_sample(tmp_path / "two", orders=50, faults=0.2, seed=7)

    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_another_seed_gives_other_bytes_in_every_file(tmp_path: Path) -> None:
    write_sample(tmp_path / "one", orders=50, seed=7)
    write_sample(tmp_path / "two", orders=50, seed=8)

    one, two = _contents(tmp_path / "one"), _contents(tmp_path / "two")
    assert all(one[name] != two[name] for name in one)


def test_faults_leave_the_other_records_as_they_are(tmp_path: Path) -> None:
    write_sample(tmp_path / "clean", orders=500)
    faults = write_sample(tmp_path / "faulty", orders=500, faults=0.1)

    clean, faulty = ((tmp_path / name / "drivers.csv").read_bytes().split(b"\n") for name in ("clean", "faulty"))
    changed = [line for line, (one, two) in enumerate(zip_longest(clean, faulty), 1) if one != two]
    assert changed == [fault.line for fault in faults if fault.source == "drivers"]


def test_clean_files_are_stored_whole(tmp_path: Path) -> None:
    faults = write_sample(tmp_path, orders=300)
    run = ingest(tmp_path, tmp_path / "sample.db")

    assert not faults
    assert {load.source: load.inserted for load in run.loads} == COUNTS
    assert {load.source: load.read for load in run.loads} == COUNTS


def test_every_fault_is_found_in_its_place_and_no_other(loaded: Loaded) -> None:
    found = loaded.db.execute(
        """
        SELECT source, record, line, byte_start, byte_end, "column", code
        FROM _rejects LEFT JOIN _errors USING (reject_id)
        """
    )

    assert Counter(map(Fault._make, found)) == Counter(loaded.faults)


@pytest.mark.parametrize("table", COUNTS)
def test_every_record_without_a_fault_is_stored(loaded: Loaded, table: str) -> None:
    refused = {fault.record for fault in loaded.faults if fault.source == table}

    stored = {record for (record,) in loaded.db.execute(f"SELECT _record FROM {table}")}
    assert stored == set(range(1, COUNTS[table] + 1)) - refused


def test_the_bytes_that_are_kept_of_a_reject_are_those_of_its_range(loaded: Loaded) -> None:
    contents = _contents(loaded.folder)

    rejects = loaded.db.execute("SELECT source, byte_start, byte_end, raw FROM _rejects").fetchall()
    assert all(contents[f"{source}.csv"][start:end] == raw for source, start, end, raw in rejects)


def test_every_kind_of_fault_occurs(loaded: Loaded) -> None:
    assert {fault.code for fault in loaded.faults} >= {
        "missing", "int_parsing", "datetime_parsing", "literal_error", "greater_than_equal", "less_than_equal",
        "float_parsing", "too_few_fields", "too_many_fields", "stray_quote", "unclosed_quote", "bare_carriage_return",
        "invalid_utf8", "nul_byte", "duplicate_key", "orphan", "parent_rejected",
    }  # fmt: skip


def test_about_half_the_addresses_have_a_line_break(orders: list[dict[str, str]]) -> None:
    broken = [order for order in orders if "\n" in order["delivery_address_line1"]]

    assert 0.45 < len(broken) / len(orders) < 0.55


@pytest.mark.parametrize(
    ("column", "value"), [("weather_condition", "Fog"), ("traffic_condition", "Heavy"), ("city", "Mumbai")]
)
def test_more_orders_fail_under_hard_conditions(orders: list[dict[str, str]], column: str, value: str) -> None:
    hard = [order["status"] == "Failed" for order in orders if order.get(column) == value]
    easy = [order["status"] == "Failed" for order in orders if order.get(column, value) != value]

    assert sum(hard) / len(hard) > 1.5 * sum(easy) / len(easy)


def test_delivered_orders_are_rated_better_than_failed_ones(orders: list[dict[str, str]]) -> None:
    rated = {status: [int(order["rating"]) for order in orders if order["status"] == status and "rating" in order]
             for status in ("Delivered", "Failed")}  # fmt: skip

    assert sum(rated["Delivered"]) / len(rated["Delivered"]) > 1 + sum(rated["Failed"]) / len(rated["Failed"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_orders(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 200, 2_000):  # the first run fills what is made once
        tracemalloc.start()
        write_sample(tmp_path, orders=count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[2] < peaks[1] + 20_000


@pytest.mark.parametrize("wrong", [{"orders": 0}, {"faults": -0.1}, {"faults": 1.5}, {"faults": float("nan")}])
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="orders must be at least 1 and faults from 0 to 1"):
        write_sample(tmp_path / "out", **wrong)  # type: ignore[arg-type]

    assert not (tmp_path / "out").exists()


def _contents(folder: Path) -> dict[str, bytes]:
    return {f"{name}.csv": (folder / f"{name}.csv").read_bytes() for name in COUNTS}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
