"""Small deliveries and their faults: a test declares only what it is about."""

from collections.abc import Mapping
from pathlib import Path

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
    "warehouse_logs": [(2, "relation", "orphan", "order_id"), (3, "relation", "parent_rejected", "warehouse_id")],
    "external_factors": [(2, "relation", "parent_rejected", "order_id")],
    "feedback": [(2, "schema", "less_than_equal", "rating")],
}
