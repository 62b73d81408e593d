"""Small deliveries, and what a database holds after they are loaded: a test declares only what it is about."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import foundation

# One process runs many tests and keeps what they import: what it holds says nothing about the memory of a load.
assert foundation.ingest.__kwdefaults__
foundation.ingest.__kwdefaults__["memory_limit"] = 2_000_000_000

Row = Mapping[str, object] | str | bytes  # columns that differ from a sound record, or a line as it stands

# A sound record of each source, in the order of its file; the first column is the key.
SOUND: dict[str, dict[str, str]] = {
    "clients": {
        "client_id": "1", "client_name": "Acme", "gst_number": "29ABCDE1234F1Z5", "contact_person": "Asha Rao",
        "contact_phone": "+919876543210", "contact_email": "asha@acme.example", "address_line1": "1 Mill Lane",
        "address_line2": "Fort", "city": "Pune", "state": "Maharashtra", "pincode": "011001",
        "created_at": "2025-01-01 08:00:00",
    },
    "drivers": {
        "driver_id": "1", "driver_name": "Ravi", "phone": "09876543210", "license_number": "MH12 2020 0001234",
        "partner_company": "Swift", "city": "Pune", "state": "Maharashtra", "status": "Active",
        "created_at": "2025-01-01 08:00:00",
    },
    "warehouses": {
        "warehouse_id": "1", "warehouse_name": "North", "state": "Maharashtra", "city": "Pune", "pincode": "011001",
        "capacity": "500", "manager_name": "Meera", "contact_phone": "+919876543210",
        "created_at": "2025-01-01 08:00:00",
    },
    "orders": {
        "order_id": "1", "client_id": "1", "customer_name": "Zoë Null", "customer_phone": "0123456789",
        "delivery_address_line1": "12, High Street", "delivery_address_line2": "NA", "city": "Pune",
        "state": "Maharashtra", "pincode": "011001", "order_date": "2025-01-02 08:00:00",
        "promised_delivery_date": "2025-01-05 08:00:00", "actual_delivery_date": "2025-01-04 08:00:00",
        "status": "Delivered", "payment_mode": "COD", "amount": "99.50", "failure_reason": "",
        "created_at": "2025-01-02 08:00:00",
    },
    "fleet_logs": {
        "fleet_log_id": "1", "order_id": "1", "driver_id": "1", "vehicle_number": "MH 12 AB 0042", "route_code": "R1",
        "gps_delay_notes": "", "departure_time": "2025-01-03 08:00:00", "arrival_time": "2025-01-03 09:00:00",
        "created_at": "2025-01-03 09:00:00",
    },
    "warehouse_logs": {
        "log_id": "1", "order_id": "1", "warehouse_id": "1", "picking_start": "2025-01-02 09:00:00",
        "picking_end": "2025-01-02 10:00:00", "dispatch_time": "2025-01-02 11:00:00", "notes": "",
    },
    "external_factors": {
        "factor_id": "1", "order_id": "1", "traffic_condition": "Clear", "weather_condition": "Rain",
        "event_type": "", "recorded_at": "2025-01-03 08:00:00",
    },
    "feedback": {
        "feedback_id": "1", "order_id": "1", "customer_name": "Zoë Null", "feedback_text": 'said "fine"',
        "sentiment": "Neutral", "rating": "3", "created_at": "2025-01-06 08:00:00",
    },
}  # fmt: skip
ALL = tuple(SOUND)


def line(source: str, key: object, **values: object) -> str:
    """One record as it stands in a file; every second order has a line break inside quotes."""
    fields: dict[str, object] = dict(SOUND[source])
    fields[next(iter(fields))] = key
    if source == "orders" and str(key).endswith(tuple("02468")):
        fields["delivery_address_line1"] = "12 High Street\nSecond Floor"
    assert values.keys() <= fields.keys(), "a test names a column that is not there"
    return ",".join(_field(value) for value in (fields | values).values()) + "\n"


def _field(value: object) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def header(source: str) -> str:
    return ",".join(SOUND[source]) + "\n"


def write_file(folder: Path, source: str, *rows: Row) -> Path:
    """Write one file; the key of a record is its number unless the row says otherwise."""
    parts = [header(source).encode()]
    for key, row in enumerate(rows, 1):
        text = line(source, **{"key": key} | dict(row)) if isinstance(row, Mapping) else row
        parts.append(text.encode() if isinstance(text, str) else text)
    path = folder / f"{source}.csv"
    path.write_bytes(b"".join(parts))
    return path


def write_delivery(folder: Path, **files: list[Row]) -> Path:
    """Write all eight files; one that is not named has a header only."""
    folder.mkdir(exist_ok=True)
    for source in SOUND:
        write_file(folder, source, *files.get(source, []))
    return folder


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)


def query(db: Path, sql: str, *values: object) -> list[Any]:
    """Rows of any SQL; of a single column its values."""
    with closing(sqlite3.connect(f"{db.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(sql, values).fetchall()
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows


def content(db: Path) -> dict[str, list[Any]]:
    """What is in the source tables, without `_load` and `_record`, in the order of the keys."""
    tables = query(db, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {
        source: query(db, f"SELECT {', '.join(columns)} FROM {source} ORDER BY 1")
        for source, columns in SOUND.items()
        if source in tables
    }


def keys(db: Path, source: str) -> list[int]:
    return [row[0] for row in content(db)[source]]


def open_rejects(db: Path) -> list[Any]:
    """Every open reject: its place, its bytes, its key, and all its reasons as JSON."""
    return query(
        db,
        """
        SELECT source, record, line, last_line, byte_start, byte_end, raw, key, (
            SELECT json_group_array(json_array(stage, code, "column", value, message)) FROM (
                SELECT * FROM _errors e WHERE e.reject_id = r.reject_id ORDER BY number
            )
        ) FROM _rejects r WHERE status = 'open' ORDER BY source, record
        """,
    )


def snapshot(db: Path) -> tuple[dict[str, list[Any]], list[Any]]:
    """What must not depend on how it came about: the content, and the open rejects."""
    return content(db), open_rejects(db)


def reasons(db: Path, source: str, status: str = "open") -> list[tuple[int, str, str, str]]:
    """Record, stage, code and column of every error of a source."""
    return query(
        db,
        """
        SELECT record, stage, code, "column" FROM _rejects JOIN _errors USING (reject_id)
        WHERE source = ? AND status = ? ORDER BY record, number
        """,
        source,
        status,
    )


def counts(load: Any) -> tuple[int, int, int, int, int]:
    """What the law of conservation is about: read, inserted, updated, unchanged, rejected."""
    return load.read, load.inserted, load.updated, load.unchanged, load.rejected


def counted(db: Path) -> list[Any]:
    """Source, kind, status and counts of all loads that did something."""
    return query(
        db,
        """
        SELECT source, kind, status, read, inserted, updated, unchanged, rejected FROM _loads
        WHERE status <> 'skipped' ORDER BY load_id
        """,
    )


def chromium() -> str:
    """Where Chromium is; without it a test is skipped, and in CI, which installs it, fails."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        told = "NO PAGE WAS OPENED IN A BROWSER: Chromium is not there; install it with: apt-get install chromium"
        (pytest.fail if os.environ.get("CHROMIUM") == "required" else pytest.skip)(told)
    return found


def in_child(act: Callable[[], object]) -> int:
    """Run *act* in a process of its own: its exit code, negative when a signal ended it."""
    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    child.join(60)
    assert child.exitcode is not None, "the child process does not end"
    return child.exitcode


def kill_at(function: str, call: int = 1) -> None:
    """From now on, kill this process when a function of this name is called for the nth time.

    With the name `statement` when SQLite is given its nth statement.
    """
    names = ("execute", "executemany") if function == "statement" else (function,)
    calls = count(1)

    def look(frame: FrameType, event: str, called: Any) -> None:
        name = called.__name__ if event == "c_call" else frame.f_code.co_name
        if event == ("c_call" if function == "statement" else "call") and name in names and next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(look)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A sound delivery: one record of each source, three clients, six orders."""
    rows: dict[str, list[Row]] = {source: [{}] for source in SOUND}
    rows |= {"clients": [{}, {}, {}], "orders": [{"client_id": 1 + n % 3} for n in range(6)]}
    return write_delivery(tmp_path / "data", **rows)


@pytest.fixture
def faulty_data(tmp_path: Path) -> Path:
    """A delivery with faults of every stage; `FAULTS` says what must be refused, `STORED` what must be stored."""
    bad_client = line("clients", 3).replace("Acme", 'Ac"me')
    return write_delivery(
        tmp_path / "data",
        clients=[{}, {}, bad_client, {"contact_email": None}, {"key": 1}, {"key": 4}, {"key": 6, "created_at": "3/7"}],
        drivers=[{}, {"status": "Asleep"}, line("drivers", 3).encode().replace(b"Ravi", b"Rav\xff")],
        warehouses=[{}, {"capacity": -1}],
        orders=[
            {}, {"client_id": 2}, {"client_id": 3}, {"client_id": 4}, {"client_id": 9}, {"key": 1, "client_id": 2},
            {"key": 5}, {"key": 1, "client_id": 9}, "9,1,short\n", {"status": "Lost", "amount": "-1"},
            {"client_id": 6}, {"client_id": 2},
        ],
        fleet_logs=[
            {}, {"order_id": 3, "driver_id": 2}, {"order_id": 77, "driver_id": 88}, {"order_id": 9},
            {"order_id": 5}, {"driver_id": 3}, {"key": 1}, {"order_id": 12},
        ],
        warehouse_logs=[{}, {"order_id": 8}, {"warehouse_id": 2}],
        external_factors=[{}, {"order_id": 10}, {"order_id": 12}],
        feedback=[{}, {"rating": 6}, {"order_id": 2}],
    )  # fmt: skip


STORED = {
    "clients": [1, 2, 4], "drivers": [1], "warehouses": [1], "orders": [1, 2, 4, 5, 12], "fleet_logs": [1, 5, 8],
    "warehouse_logs": [1], "external_factors": [1, 3], "feedback": [1, 3],
}  # fmt: skip

FAULTS = {
    "clients": [
        (3, "parse", "stray_quote", None),
        (4, "schema", "missing", "contact_email"),
        (5, "key", "duplicate_key", "client_id"),
        (7, "schema", "datetime_parsing", "created_at"),
    ],
    "drivers": [(2, "schema", "literal_error", "status"), (3, "decode", "invalid_utf8", "driver_name")],
    "warehouses": [(2, "schema", "greater_than_equal", "capacity")],
    "orders": [
        (3, "relation", "parent_rejected", "client_id"),
        (5, "relation", "orphan", "client_id"),
        (6, "key", "duplicate_key", "order_id"),
        (8, "relation", "orphan", "client_id"),
        (9, "parse", "too_few_fields", None),
        (10, "schema", "literal_error", "status"),
        (10, "schema", "greater_than_equal", "amount"),
        (11, "relation", "parent_rejected", "client_id"),
    ],
    "fleet_logs": [
        (2, "relation", "parent_rejected", "order_id"),
        (2, "relation", "parent_rejected", "driver_id"),
        (3, "relation", "orphan", "order_id"),
        (3, "relation", "orphan", "driver_id"),
        (4, "relation", "parent_rejected", "order_id"),
        (6, "relation", "parent_rejected", "driver_id"),
        (7, "key", "duplicate_key", "fleet_log_id"),
    ],
    "warehouse_logs": [
        (2, "relation", "orphan", "order_id"),
        (3, "relation", "parent_rejected", "warehouse_id"),
    ],
    "external_factors": [(2, "relation", "parent_rejected", "order_id")],
    "feedback": [(2, "schema", "less_than_equal", "rating")],
}


@pytest.fixture(scope="module", params=["started", "forked"])
def kernels(request):
    """What starts kernels: each by itself, or as the forks of one process."""
    from jupyter_client.manager import AsyncKernelManager

    from foundation.report.kernels import forked_kernels

    if request.param == "started":
        yield AsyncKernelManager
    else:
        with forked_kernels() as manager:
            yield manager
