"""Deliveries that many tests load, and where they are loaded to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deliveries import SOUND, Row, line, write_delivery

FIRST = ("lake", "report", "notebooks", "whole", "pipeline")  # folders whose tests take longest
LAST = "reader"  # records of many megabytes, of which the process keeps some: no load of a small budget comes after


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: one that came last would keep one process busy and the other idle."""
    order = {name: number for number, name in enumerate(FIRST)} | {LAST: len(FIRST) + 1}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(FIRST)))


@pytest.fixture(autouse=True, scope="session")
def no_terminal() -> Iterator[None]:
    """Output is as wide as without a terminal: readline tells processes that are started of one of 80 columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        patch.delenv("LINES", raising=False)
        yield


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
