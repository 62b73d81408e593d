"""What a declared class gives, what is wrong with a declaration, and sources from a user's own file."""

import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import AfterValidator, Field, field_validator, model_validator

from foundation import SOURCES
from foundation.errors import SchemaError
from foundation.schema.record import Record, load_sources, sources_in
from foundation.schema.source import Source, in_order, with_parents


class Bike(Record, table="bikes", key="bike_id"):
    bike_id: int


class Trip(
    Record,
    table="trips",
    key="trip_id",
    references={"bike_id": "bikes"},
    indexes=[("bike_id",), ("weather", "started")],
    checks={"ends_after_its_start": "ended >= started"},
):
    """One ride
    from one station to another."""

    trip_id: Annotated[int, Field(gt=0)]
    bike_id: int = Field(gt=0, description="what was ridden")
    started: datetime
    ended: datetime | None = None
    day: Optional[date]  # noqa: UP045
    weather: Literal["dry", "wet"]
    sky: Literal["blue"] | None = None
    price: Annotated[float, Field(ge=0)] | None = None
    note: str = Field(alias="Note of the rider", max_length=80)


TRIPS: Source = Trip.__source__


def test_a_declared_class_gives_the_columns():
    assert [
        (c.name, c.header, c.kind, c.required, c.vocabulary, c.column_type.sqlite, c.description) for c in TRIPS.columns
    ] == [
        ("trip_id", "trip_id", int, True, (), "INTEGER", ""),
        ("bike_id", "bike_id", int, True, (), "INTEGER", "what was ridden"),
        ("started", "started", datetime, True, (), "TEXT", ""),
        ("ended", "ended", datetime, False, (), "TEXT", ""),
        ("day", "day", date, False, (), "TEXT", ""),
        ("weather", "weather", str, True, ("dry", "wet"), "TEXT", ""),
        ("sky", "sky", str, False, ("blue",), "TEXT", ""),
        ("price", "price", float, False, (), "REAL", ""),
        ("note", "Note of the rider", str, True, (), "TEXT", ""),
    ]


def test_a_declared_class_gives_the_table_and_what_holds_in_it():
    assert (TRIPS.name, TRIPS.file_name, TRIPS.key) == ("trips", "trips.csv", "trip_id")
    assert TRIPS.description == "One ride from one station to another."
    assert TRIPS.references == {"bike_id": "bikes"}
    assert TRIPS.indexes == (("bike_id",), ("weather", "started"))
    assert TRIPS.checks == {"ends_after_its_start": "ended >= started"}
    assert TRIPS.position("started") == 2


def test_a_data_dictionary_says_of_each_column_what_may_stand_in_it():
    rows = {row["column"]: row for row in TRIPS.dictionary()}

    assert rows["trip_id"] == {
        "column": "trip_id", "type": "int", "required": "yes", "allowed": "gt 0", "refers to": "key", "meaning": "",
    }  # fmt: skip
    assert rows["bike_id"]["refers to"] == "bikes"
    assert [rows[name]["allowed"] for name in ("weather", "price", "Note of the rider")] == [
        "dry, wet", "ge 0", "max_length 80",
    ]  # fmt: skip


# Mistakes.


def declare(columns: dict[str, Any], **keywords: Any) -> Source:
    """The source of a class with a key and these columns: a type, or a type and its field."""
    body: dict[str, Any] = {"__annotations__": {"key": int}}
    for name, column in columns.items():
        kind, *field = column if isinstance(column, tuple) else (column,)
        body["__annotations__"][name] = kind
        body |= {name: value for value in field}  # noqa: B035
    made = type(Record)("Made", (Record,), body, **{"table": "made", "key": "key"} | keywords)
    return made.__source__  # type: ignore[no-any-return, attr-defined]


@pytest.mark.parametrize(
    ("columns", "keywords", "words"),
    [
        ({}, {"table": ""}, "Made: name its table and its key, as in `class Trip(Record, table=…, key=…)`"),
        ({}, {"key": ""}, "Made: name its table and its key"),
        ({}, {"key": "id"}, "Made: no column id"),
        ({}, {"references": {"bike": "bikes"}}, "Made: no column bike"),
        ({}, {"indexes": [("key", "b", "a")]}, "Made: no column a, b"),
        ({}, {"table": "_runs"}, "Made: '_runs' cannot name a table; use a plain identifier"),
        ({}, {"table": "sqlite_x"}, "'sqlite_x' cannot name a table"),
        ({}, {"table": "../made"}, "'../made' cannot name a table"),
        ({}, {"table": "class"}, "'class' cannot name a table"),
        ({"id": (int | None, None)}, {"key": "id"}, "Made: the key id may not be optional"),
        ({"KEY": str}, {}, "Made: two columns have the same name or alias, upper and lower case being the same"),
        ({"a": (str, Field(alias="x")), "b": (str, Field(alias="x"))}, {}, "two columns have the same name or alias"),
        ({"a": Decimal}, {}, "Made.a: <class 'decimal.Decimal'> cannot be stored; use date, datetime, float, int, str"),
        ({"a": bool}, {}, "Made.a: <class 'bool'> cannot be stored"),
        ({"a": list[int]}, {}, "Made.a: list[int] cannot be stored"),
        ({"a": int | str}, {}, "Made.a: int | str cannot be stored"),
        ({"a": int | str | None}, {}, "cannot be stored"),
        ({"a": "Unknown"}, {}, "Made.a: ForwardRef('Unknown') cannot be stored"),
        ({"a": Literal[1, 2]}, {}, "Made.a: a Literal may hold texts only, none of them empty"),
        ({"a": Literal["", "x"]}, {}, "Made.a: a Literal may hold texts only, none of them empty"),
        ({"a": (str, "x")}, {}, "Made.a: a default is never used; a column that may be empty is `| None`"),
        ({"a": (int | None, 5)}, {}, "Made.a: a default is never used"),
        ({"a": (str, Field(default_factory=str))}, {}, "Made.a: a default is never used"),
    ],
    ids=lambda case: case if isinstance(case, str) else None,
)  # fmt: skip
def test_a_mistake_in_a_declaration_is_told_in_words(columns, keywords, words):
    with pytest.raises(SchemaError) as mistake:
        declare(columns, **keywords)

    assert words in str(mistake.value)


def test_a_class_without_table_and_key_is_told_so():
    with pytest.raises(SchemaError, match="Bare: name its table and its key"):

        class Bare(Record):
            bare_id: int


@pytest.mark.parametrize(
    "method",
    [field_validator("key")(classmethod(lambda cls, value: value)), model_validator(mode="after")(lambda self: self)],
    ids=["of a field", "of the model"],
)
def test_a_validator_method_is_refused_because_it_would_not_run(method):
    with pytest.raises(SchemaError, match="Checked: validator methods are not run on files; write the rule as"):

        class Checked(Record, table="checked", key="key"):
            key: int
            check = method


# Order.


def source(name: str, *parents: str) -> Source:
    columns = dict.fromkeys(parents, int)
    return declare(columns, table=name, references={parent: parent for parent in parents})


def test_parents_come_before_their_children_and_the_others_stay_where_they_are():
    given = [source("d", "c"), source("a"), source("c", "b", "a"), source("b"), source("e", "e")]

    assert [s.name for s in in_order(given)] == ["a", "b", "c", "d", "e"]


def test_the_sources_of_the_delivery_are_in_order():
    assert [s.name for s in SOURCES] == [
        "clients", "drivers", "warehouses", "orders", "fleet_logs", "warehouse_logs", "external_factors", "feedback",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([("a", "b"), ("b", "a")], "the references of a, b form a circle"),
        ([("x",), ("a", "c"), ("b", "a"), ("c", "b")], "the references of a, b, c form a circle"),
        ([("a", "b", "c"), ("c",)], "a refers to b, which no source declares"),
        ([("a",), ("b",), ("a",)], "two sources have the same table name"),
    ],
    ids=["two", "three", "an unknown parent", "one name twice"],
)
def test_sources_that_cannot_be_put_in_order_are_told_in_words(given, words):
    with pytest.raises(SchemaError, match=words):
        in_order(source(*names) for names in given)


def test_a_source_comes_with_all_that_it_refers_to():
    sources = in_order([source("a"), source("b", "a"), source("c", "b"), source("d", "a"), source("e")])

    assert with_parents(sources, ["c", "e"]) == ["a", "b", "c", "e"]


# Fingerprints.


def small(number: int) -> int:
    return number


BASE: dict[str, Any] = {"a": (int, Field(ge=0)), "b": Literal["x", "y"], "c": (str | None, None)}


@pytest.mark.parametrize(
    ("columns", "keywords"),
    [
        ({"a": (int, Field(ge=1))}, {}),
        ({"a": int}, {}),
        ({"a": (int, Field(gt=0))}, {}),
        ({"a": (float, Field(ge=0))}, {}),
        ({"a": (int, Field(ge=0, alias="A"))}, {}),
        ({"a": Annotated[int, Field(ge=0), AfterValidator(small)]}, {}),
        ({"b": Literal["x", "y", "z"]}, {}),
        ({"c": str}, {}),
        ({"c": (Annotated[str, Field(max_length=3)] | None, None)}, {}),
        ({"d": str}, {}),
        ({}, {"table": "other"}),
        ({}, {"key": "a"}),
        ({}, {"references": {"a": "others"}}),
    ],
    ids=["bound", "no bound", "kind of bound", "type", "header", "rule", "vocabulary", "required",
         "bound of an optional", "one more column", "table", "key", "reference"],
)  # fmt: skip
def test_the_fingerprint_changes_with_what_is_accepted_or_stored(columns, keywords):
    assert declare(BASE | columns, **keywords).fingerprint != declare(BASE).fingerprint


@pytest.mark.parametrize(
    ("columns", "keywords"),
    [
        ({}, {"checks": {"a_is_even": "a % 2 = 0"}}),
        ({}, {"indexes": [("a",)]}),
        ({"a": (int, Field(ge=0, description="how many"))}, {}),
        ({"a": Annotated[int, Field(ge=0)]}, {}),
    ],
    ids=["a check", "an index", "a description", "another way to write a bound"],
)
def test_the_fingerprint_stays_with_what_changes_nothing_of_that(columns, keywords):
    assert declare(BASE | columns, **keywords).fingerprint == declare(BASE).fingerprint


def test_a_word_beside_a_type_is_no_reason_to_fail():
    assert declare({"a": Annotated[int, "how many"]}).fingerprint


def test_the_fingerprint_is_the_same_in_every_process():
    code = "from foundation import SOURCES; print(*[s.fingerprint for s in SOURCES])"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert told.split() == [s.fingerprint for s in SOURCES]


# Files.

USERS_FILE = """
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from foundation.schema.record import Record

Key = Annotated[int, Field(gt=0)]


class Trip(Record, table="trips", key="trip_id", references={"bike_id": "bikes"}):
    '''One ride.'''

    trip_id: Key
    bike_id: Key
    ended: datetime | None = None
    weather: Literal["dry", "wet"]


class Bike(Record, table="bikes", key="bike_id"):
    bike_id: Key


Ride = Trip
"""


@pytest.mark.parametrize("first_line", ["", "from __future__ import annotations"], ids=["plain", "annotations as text"])
def test_sources_are_loaded_from_a_users_file_each_once_and_in_order(tmp_path, first_line):
    path = tmp_path / "my sources.py"
    path.write_text(first_line + USERS_FILE)

    bikes, trips = load_sources(path)

    assert (bikes.name, trips.name, trips.description) == ("bikes", "trips", "One ride.")
    assert [(c.name, c.kind, c.required) for c in trips.columns] == [
        ("trip_id", int, True), ("bike_id", int, True), ("ended", datetime, False), ("weather", str, True),
    ]  # fmt: skip
    assert repr(trips.columns[0].constraints) == "(Gt(gt=0),)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no Python file of sources there"),
        (Path.mkdir, "no Python file of sources there"),
        (lambda path: path.write_text("x = 1"), "no source is declared there"),
        (lambda path: path.write_text("def x(:"), "SyntaxError: invalid syntax"),
        (lambda path: path.write_text("1 / 0"), "ZeroDivisionError: division by zero"),
        (
            lambda path: path.write_text("import no_such_module"),
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (lambda path: path.write_text(USERS_FILE.replace('key="bike_id"', 'key="id"')), "Bike: no column id"),
        (lambda path: path.write_text(USERS_FILE.replace('table="bikes"', 'table="others"')), "trips refers to bikes"),
    ],
    ids=["no file", "a folder", "no sources", "no Python", "an error", "an import", "a mistake", "no parent"],
)
def test_a_file_without_sound_sources_is_told_in_words(tmp_path, make: Callable[[Path], object], words):
    path = tmp_path / "sources.py"
    make(path)

    with pytest.raises(SchemaError, match=words):
        load_sources(path)


def test_a_file_that_is_not_named_like_python_holds_no_sources(tmp_path):
    (tmp_path / "sources.txt").write_text(USERS_FILE)

    with pytest.raises(SchemaError, match=r"sources\.txt: no Python file of sources there"):
        load_sources(tmp_path / "sources.txt")


def test_sources_are_found_among_other_things():
    assert sources_in([Record, 1, Bike, "x", Trip, Bike, int]) == [Bike.__source__, TRIPS]
