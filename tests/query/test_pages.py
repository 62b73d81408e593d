"""The laws of paging: for any content, filter and order the pages joined are the rows filtered and ordered."""

import csv
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

import foundation
from foundation.errors import QueryError
from tests.support.loading import ingest


class Region(foundation.Record, table="regions", key="region_id"):
    """Where things are."""

    region_id: int = Field(gt=0)
    name: str | None = None


class Thing(
    foundation.Record,
    table="things",
    key="thing_id",
    references={"region_id": "regions"},
    indexes=[("a",), ("b", "c"), ("region_id",)],
):
    """Columns with few values, so that many rows are alike."""

    thing_id: int
    a: int | None = None
    b: str | None = None
    c: float | None = None
    region_id: int | None = None


SOURCES = (Region.__source__, Thing.__source__)
COLUMNS = ("thing_id", "a", "b", "c", "region_id")
REGIONS = {1: "Süd", 2: None, 3: "zz"}
TEXTS = st.sampled_from(["", "x", "X", "xy", "é", "\U0001f600", "\uffff", "z"])
THINGS = st.lists(
    st.tuples(
        st.none() | st.integers(-2, 3),
        TEXTS.map(lambda text: text or None),
        st.none() | st.sampled_from([-1.5, 0.1, 2.0]),
        st.none() | st.sampled_from([1, 2, 3]),
    ),
    max_size=30,
)
NAMES = ("thing_id", "a", "b", "c", "region_id", "region_id.name")
ORDER = st.lists(st.sampled_from(NAMES), max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"-{name}"]) for name in names))
)
NUMBERS, WORD = st.integers(-2, 3), st.sampled_from(["gt", "gte", "lt", "lte"])
FILTER = st.one_of(
    st.just({}),
    st.builds(lambda v: {"a": v}, st.none() | NUMBERS),
    st.builds(lambda v: {"a__not": v}, st.none() | NUMBERS),
    st.builds(lambda w, v: {f"a__{w}": v}, WORD, NUMBERS),
    st.builds(lambda v: {"a__in": v}, st.lists(st.none() | NUMBERS, max_size=3)),
    st.builds(lambda v, w: {"a__between": [v, w]}, NUMBERS, NUMBERS),
    st.builds(lambda w, v: {f"b__{w}": v}, st.sampled_from(["startswith", "contains", "gte"]), TEXTS),
    st.builds(lambda v: {"region_id.name__startswith": v}, st.sampled_from(["S", "z", "q"])),
)


def make(folder: Path, things) -> Path:
    """A database of these things, loaded from files as a user would."""
    for name, header, rows in (
        ("regions", ("region_id", "name"), REGIONS.items()),
        ("things", COLUMNS, [(n * 7 % 97 + 1, *thing) for n, thing in enumerate(things)]),
    ):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    ingest(folder, folder / "x.db", sources=SOURCES)
    return folder / "x.db"


def meets(row, told, wanted) -> bool:
    """What a condition means, said again in Python."""
    name, _, word = told.partition("__")
    value = row[name]
    if word in ("", "not"):
        return (value == wanted) == (word == "")
    if word == "in":
        return value in wanted
    if value is None:
        return False
    return {
        "gt": lambda: value > wanted, "gte": lambda: value >= wanted,
        "lt": lambda: value < wanted, "lte": lambda: value <= wanted,
        "between": lambda: wanted[0] <= value <= wanted[1],
        "startswith": lambda: value.startswith(wanted), "contains": lambda: wanted in value,
    }[word]()  # fmt: skip


def expected(things, wanted, order):
    """The keys of the rows that meet *wanted*, in this order, by Python's own sorting."""
    rows = [dict(zip(COLUMNS, (n * 7 % 97 + 1, *thing), strict=True)) for n, thing in enumerate(things)]
    rows = [row | {"region_id.name": REGIONS.get(row["region_id"])} for row in rows]
    rows = [row for row in rows if all(meets(row, told, value) for told, value in wanted.items())]
    last = order[-1] if order else ""
    if "thing_id" not in [name.lstrip("-") for name in order]:
        order = (*order, "-thing_id" if last.startswith("-") else "thing_id")
    for name in reversed(order):  # sorting is stable
        column = name.lstrip("-")
        rows.sort(key=lambda row: (row[column] is not None, row[column] or 0 if column != "region_id.name"
                  and column != "b" else row[column] or ""), reverse=name.startswith("-"))  # fmt: skip
    return [row["thing_id"] for row in rows]


def walk(query, size, *, back=False):
    """The rows of all pages joined, forwards or from the last page backwards."""
    page = query.page(size)
    pages = [page]
    while (page := page.forward()) is not None:
        pages.append(page)
        assert len(pages) <= page.total, "paging forwards does not end"
    if back:
        pages = [page := pages[-1]]
        while (page := page.back()) is not None:
            pages.insert(0, page)
            assert len(pages) <= page.total, "paging backwards does not end"
    assert all(len(one) == size for one in pages[1:-1])
    assert {one.total for one in pages} == {pages[0].total}
    return [row for one in pages for row in one.rows]


QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUIET
@given(things=THINGS, wanted=FILTER, order=ORDER, size=st.integers(1, 32))
def test_pages_joined_are_the_rows_filtered_and_ordered(things, wanted, order, size):
    with tempfile.TemporaryDirectory() as folder, foundation.open(make(Path(folder), things), sources=SOURCES) as db:
        query = db["things"].where(wanted).order_by(*order).select("thing_id")
        keys = [(key,) for key in expected(things, wanted, order)]

        assert walk(query, size) == keys
        assert walk(query, size, back=True) == keys
        assert [(row["thing_id"],) for row in query] == keys
        assert [row for n in range(1, len(keys) // size + 2) for row in query.page(size, number=n).rows] == keys
        assert query.count() == query.page(size).total == len(keys)
        assert query.frame()["thing_id"].tolist() == [key for (key,) in keys]


@QUIET
@given(things=THINGS, order=ORDER, size=st.integers(1, 32), floor=st.integers(-3, 3))
def test_pages_of_a_select_joined_are_its_rows(things, order, size, floor):
    """Rows without a key, many of them the same: none is met twice, none is missed."""
    order = tuple(name for name in order if name.lstrip("-") in ("a", "b"))
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder), things)
        with closing(sqlite3.connect(path)) as plain:
            whole = plain.execute("SELECT a, b FROM things WHERE a > ? OR a IS NULL ORDER BY c", [floor]).fetchall()
        with foundation.open(path, sources=SOURCES) as db:
            query = db.sql("SELECT a, b FROM things WHERE a > ? OR a IS NULL ORDER BY c -- why not;", [floor])
            ordered = query.order_by(*order) if order else query
            streamed = [tuple(row.values()) for row in ordered]

            assert sorted(map(repr, streamed)) == sorted(map(repr, whole))
            assert walk(ordered, size) == walk(ordered, size, back=True) == streamed
            if not order:
                assert streamed == whole, "without order_by the SELECT's own order holds"


@pytest.mark.parametrize("order", [(), ("x",), ("-x",)], ids=str)
@pytest.mark.parametrize("size", [1, 5, 36, 37, 38])
def test_pages_of_rows_that_are_all_the_same_cover_them_once(shared, order, size):
    query = shared.sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 37) SELECT 'a' AS x FROM n")
    query = query.order_by(*order) if order else query

    for back in (False, True):
        assert walk(query, size, back=back) == [("a",)] * 37


@pytest.mark.parametrize(
    "order", [("a", "-b"), ("-a", "b"), ("-b",), ("-c", "-a"), ("-region_id.name", "a")], ids=" ".join
)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_missing_values_stand_last_where_the_order_descends(tmp_path, order, size):
    things = [(n % 3 or None, [None, "x", "y"][n % 5 % 3], [None, 0.5][n % 2], [None, 1, 2][n % 3]) for n in range(20)]
    with foundation.open(make(tmp_path, things), sources=SOURCES) as db:
        query = db["things"].order_by(*order).select("thing_id")
        keys = [(key,) for key in expected(things, {}, order)]

        assert walk(query, size) == walk(query, size, back=True) == keys


@pytest.fixture
def db(tmp_path):
    things = [(n % 4, "xyz"[n % 3], 0.5 * (n % 5), n % 3 + 1) for n in range(50)]
    with foundation.open(make(tmp_path, things), sources=SOURCES) as db:
        yield db


def test_the_state_of_the_first_page_holds_or_the_change_is_told(db, tmp_path):
    """The chosen rule: a reload in the middle is told; a stream goes on with the state it began with."""
    query = db["things"].order_by("-b").select("thing_id")
    page, stream = query.page(10), query.stream(10)
    streamed = next(stream)
    whole = [row["thing_id"] for row in query]

    ingest(make_more(tmp_path), tmp_path / "x.db", sources=SOURCES)

    with pytest.raises(QueryError, match="data has changed"):
        page.forward()
    assert [row["thing_id"] for row in (*streamed, *(row for chunk in stream for row in chunk))] == whole
    assert query.count() == len(whole) + 1


def make_more(folder):
    with (folder / "things.csv").open("a", encoding="utf-8") as file:
        file.write("99,1,w,0.5,1\n")
    return folder


def test_streams_run_side_by_side_and_are_let_go_of(db, tmp_path):
    one, two = db["things"].stream(7), db["things"].order_by("-a").stream(11)
    read = [next(one), next(two), next(one)]
    one.close()
    del two

    assert [len(chunk) for chunk in read] == [7, 11, 7]
    ingest(make_more(tmp_path), tmp_path / "x.db", sources=SOURCES)
    assert (tmp_path / "x.db-wal").stat().st_size == 0, "nobody holds an old state: the log was written back"


def test_every_change_of_a_token_is_noticed(db):
    token = db["things"].order_by("b").page(10).next

    for i, was in enumerate(token):
        with pytest.raises(QueryError, match="no token"):
            db["things"].order_by("b").page(10, after=token[:i] + ("A" if was != "A" else "B") + token[i + 1 :])


def test_a_reference_is_followed_one_step(db):
    page = db["things"].select("thing_id", "region_id.name").where({"region_id.name__contains": "ü"}).page(3)

    assert page.columns == ("thing_id", "region_id.name")
    assert {row[1] for row in page.rows} == {"Süd"}
    with pytest.raises(QueryError, match="regions has no column 'nme'; it has region_id, name"):
        db["things"].select("region_id.nme")
    with pytest.raises(QueryError, match=r"region_id\.… are those of regions"):
        db["things"].select("regions.name")


HOSTILE = [
    'a" OR 1=1 --', "a'; DROP TABLE things; --", "a)", "a]", "`a`", '"a"', "a\0", "a--", "a/*", "rowid", "_rowid_",
    "_load", "_record", "*", "a, b", "a DESC", "(SELECT 1)", "t.a", "sqlite_schema", "region_id.", ".name",
    "region_id.name.x", "region_id._load", "A", " a", "a ", "\u202ea", "a\n", "things.a", "1", "?", ":a", "",
    "oid", "-", "--a",
]  # fmt: skip


@settings(max_examples=1_000, deadline=None)
@given(name=st.sampled_from(HOSTILE) | st.text(max_size=30), value=st.text(max_size=30) | st.sampled_from(HOSTILE))
def test_only_declared_names_reach_the_database(shared, name, value):
    query = shared["things"]
    allowed = set(NAMES) | {"region_id.region_id"}
    for ask in (lambda: query.select(name), lambda: query.order_by(name), lambda: query.where({name: None}),
                lambda: query[name], lambda: query.where({f"{name}__not": None})):  # fmt: skip
        try:
            ask().page(1)
        except QueryError as error:
            assert "has no column" in str(error)
        else:
            assert name in allowed or name.removeprefix("-") in allowed or name.partition("__")[0] in allowed
    with pytest.raises(QueryError, match="no table"):
        shared[f"things{name}{value}" if name + value else "nothing"]
    try:
        wanted = query.where(b=value)
    except QueryError as error:
        assert "half a character" in str(error)
    else:
        assert wanted.count() == len([row for row in query if row["b"] == value])
    assert shared["things"].count() == 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("hostile"), [(n % 4, "xyz"[n % 3], None, None) for n in range(20)])
    with foundation.open(path, sources=SOURCES) as db:
        yield db


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda q: q.where(a="much"), "a holds whole numbers, got 'much'"),
        (lambda q: q.where(a=1.5), "a holds whole numbers, got 1.5"),
        (lambda q: q.where(a=True), "a holds whole numbers, got True"),
        (lambda q: q.where(a=2**63), "beyond 64 bits"),
        (lambda q: q.where(c=float("nan")), "nan is no value"),
        (lambda q: q.where(b=5), "b holds text, got 5"),
        (lambda q: q.where(a__gt=None), "None, a missing value, is neither more nor less"),
        (lambda q: q.where(a__in="1"), "a__in takes a list"),
        (lambda q: q.where(a__in=range(20_000)), "at most 10,000 values, got 20,000"),
        (lambda q: q.where(a__between=[1]), "the least and the greatest value"),
        (lambda q: q.where(a__contains="1"), "looks for a text in a column of text"),
        (lambda q: q.where(a__like="1"), "no column 'a__like'"),
        (lambda q: q.stream(0), "at least 1, got 0"),
        (lambda q: q.page(1, after="x", number=1), "a token or a number"),
    ],
)
def test_what_cannot_be_asked_is_told_before_anything_is_read(db, ask, told):
    with pytest.raises(QueryError, match=told):
        ask(db["things"])


@pytest.mark.parametrize("select", ["DELETE FROM things", "SELECT nothing FROM things", "SELECT 1; SELECT 2", "", ")"])
def test_what_is_no_select_is_told(db, select):
    with pytest.raises(QueryError, match=r"this SELECT cannot be run: .*(syntax error|no such column)"):
        db.sql(select)
