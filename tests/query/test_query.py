"""Reading back: pages that cover a table once, tokens that do not lie, streams and frames."""

import pytest

import foundation
from foundation.errors import QueryError, StoreError
from tests.support.deliveries import write_delivery
from tests.support.inspection import query as sql
from tests.support.loading import ingest


@pytest.fixture
def orders(tmp_path, db):
    """Thirteen orders; amounts repeat, delivery dates repeat and are missing."""
    rows = [
        {
            "amount": f"{100 + n % 4}.5",
            "actual_delivery_date": f"2025-01-0{1 + n % 3} 00:00:00" if n % 4 else "",
            "city": "Pune" if n % 2 else "Surat",
        }
        for n in range(13)
    ]
    ingest(write_delivery(tmp_path / "data", clients=[{}], orders=rows), db)
    with foundation.open(db) as database:
        yield database["orders"]


ORDERS = [
    (),
    ("-order_id",),
    ("amount",),
    ("-amount", "city"),
    ("actual_delivery_date",),
    ("-actual_delivery_date",),
    ("-actual_delivery_date", "amount", "-order_id"),
    ("city", "-actual_delivery_date", "-amount"),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "+".join(order) or "key")
@pytest.mark.parametrize("size", [1, 2, 5, 12, 13, 14])
def test_pages_cover_the_table_once_and_in_order(orders, order, size):
    query = orders.order_by(*order).select("order_id")
    wanted = [row["order_id"] for chunk in query.stream() for row in chunk]

    seen, after, pages = [], None, 0
    while pages == 0 or after:
        page = query.page(size, after=after)
        seen += [row[0] for row in page.rows]
        after, pages = page.next, pages + 1
        assert pages <= 13, "paging does not end"

    assert seen == wanted
    assert len(set(wanted)) == 13
    assert pages == -(-13 // size)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "+".join(order) or "key")
def test_the_order_is_the_one_that_sqlite_gives(orders, db, order):
    key = "-order_id" if order and order[-1].startswith("-") else "order_id"  # it goes the way of the last column
    terms = [f"{name[1:]} DESC" if name.startswith("-") else name for name in (*order, key)]

    rows = [row["order_id"] for chunk in orders.order_by(*order).select("order_id").stream(4) for row in chunk]

    assert rows == sql(db, f"SELECT order_id FROM orders ORDER BY {', '.join(terms)}")


def test_page_numbers_give_the_same_pages_as_tokens(orders):
    query = orders.order_by("-amount").select("order_id")

    second = query.page(5, after=query.page(5).next)

    assert query.page(5, number=2) == second
    assert query.page(5, number=4).rows == ()


def test_a_page_knows_how_many_rows_there_are_in_all(orders):
    page = orders.where(city="Pune").page(2)

    assert (len(page.rows), page.total) == (2, 6)


def test_the_total_of_a_table_is_that_of_its_rows_whatever_was_loaded(orders, tmp_path, db):
    for rows in ([{"key": 1, "city": "Delhi"}, {"key": 99}, {"key": 100, "amount": "-1"}], [{"key": 99}]):
        ingest(write_delivery(tmp_path / "more", orders=rows), db)

        assert [orders.count()] == sql(db, "SELECT count(*) FROM orders")
    assert orders.count() == 14


def test_pages_behind_a_token_do_not_count_again(orders):
    query = orders.where(city="Pune")
    token = query.page(2).next
    asked: list[str] = []
    orders.database.engine.connection.set_trace_callback(asked.append)

    page = query.page(2, after=token)

    assert page.total == 6
    assert [sql for sql in asked if "count(*)" in sql] == []


def test_none_finds_missing_values(orders):
    assert orders.where(actual_delivery_date=None).count() == 4


def test_a_token_of_another_query_is_refused(orders):
    token = orders.order_by("amount").page(2).next

    with pytest.raises(QueryError, match="another table, filter or order"):
        orders.page(2, after=token)


@pytest.mark.parametrize("token", ["x", "bm9wZQ", "W10", "é"])
def test_what_is_no_token_is_refused(orders, token):
    with pytest.raises(QueryError, match="no token of a page"):
        orders.page(2, after=token)


def test_a_token_is_stale_once_the_data_has_changed(orders, tmp_path, db):
    token = orders.page(2).next
    ingest(write_delivery(tmp_path / "more", clients=[{"key": 2}]), db)

    with pytest.raises(QueryError, match="data has changed"):
        orders.page(2, after=token)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda db: db["order"], "no table 'order'; there are clients"),
        (lambda db: db["_loads"], "no table '_loads'"),
        (lambda db: db["orders"].where(town="Pune"), "no column 'town'; it has order_id"),
        (lambda db: db["orders"].order_by("-town"), "no column 'town'"),
        (lambda db: db["orders"].select("amount; DROP TABLE orders"), "no column 'amount; DROP"),
        (lambda db: db["orders"].where(amount="much"), "holds numbers"),
        (lambda db: db["orders"].page(0), "at least 1, got 0"),
    ],
)
def test_a_wrong_name_or_value_is_told_with_what_there_is(orders, ask, told):
    with pytest.raises(QueryError, match=told):
        ask(orders.database)


def test_a_frame_has_nullable_types_and_timestamps(orders):
    frame = orders.frame()

    types = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert types["order_id"] == "Int64"
    assert types["amount"] == "Float64"
    assert types["pincode"] == "string"
    assert types["actual_delivery_date"].startswith("datetime64")
    assert frame["pincode"][0] == "011001"
    assert frame["actual_delivery_date"].isna().sum() == 4


def test_a_frame_of_nothing_has_its_columns(orders):
    assert list(orders.where(order_id=99).select("order_id", "amount").frame().columns) == ["order_id", "amount"]


def test_a_database_that_is_not_there_is_told_and_not_made(tmp_path):
    with pytest.raises(StoreError, match="no such database"):
        foundation.open(tmp_path / "absent.db")

    assert not list(tmp_path.iterdir())


def test_nothing_can_be_written_through_a_reader(orders):
    with pytest.raises(StoreError, match="readonly"):
        orders.database.rows("DELETE FROM orders")


def test_an_empty_database_is_told_as_such(db):
    db.touch()

    with pytest.raises(StoreError, match="an empty database; load a delivery into it first"):
        foundation.open(db)
