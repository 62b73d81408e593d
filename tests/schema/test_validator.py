"""Which texts each type of column takes, what is stored of them, and what is said of the others."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foundation.reader.reader import Chunk, Damaged
from foundation.reader.recovery import Error
from foundation.schema.source import Source
from foundation.schema.validator import Value, judge
from tests.support.records import Every

untimed = settings(deadline=None)  # a busy machine is no fault

EVERY: Source = Every.__source__
NAMES = [column.name for column in EVERY.columns]
PLAIN = dict.fromkeys(NAMES, "") | {
    "key": "1", "must_whole": "2", "must_number": "2.5", "must_moment": "2025-01-30 08:15:00", "must_text": "x",
    "must_word": "Yes",
}  # fmt: skip


def judged(*records: dict[str, str]) -> tuple[list[dict[str, Value]], list[Damaged]]:
    """Rows and rejects of records that differ from the plain one in some texts."""
    rows = [[(PLAIN | texts)[name] for name in NAMES] for texts in records]
    chunk = Chunk.of_rows(list(range(1, len(records) + 1)), rows)
    verdict = judge(EVERY, chunk)
    assert sorted([*(row[-1] for row in verdict.rows), *(r.record for r in verdict.rejected)]) == chunk.records
    return [dict(zip(NAMES, row[:-1], strict=True)) for row in verdict.rows], verdict.rejected


def codes(rejected: list[Damaged]) -> list[tuple[str | None, str]]:
    return [(error.column, error.code) for damaged in rejected for error in damaged.errors]


ACCEPTED: dict[str, dict[str, Value]] = {
    "whole": {
        "": "", "0": 0, "-1": -1, "-0": 0, "0012": 12, str(2**63 - 1): 2**63 - 1, str(-(2**63)): -(2**63),
    },
    "number": {
        "": "", "0": 0.0, "12": 12.0, "12.50": 12.5, "-0.1": -0.1, "1e3": 1000.0, "1.5E-7": 1.5e-7,
        "0.30000000000000004": 0.30000000000000004, "123456789012345": 123456789012345.0,
        "9007199254740992": 2.0**53, "1.7976931348623157e308": 1.7976931348623157e308, "5e-324": 5e-324,
        "100000000000000000000000": 1e23, "0.1000000000000000000000000": 0.1,
    },
    "moment": {
        "": "", "2025-01-30 08:15:00": "2025-01-30 08:15:00", "2025-01-30T08:15:00": "2025-01-30 08:15:00",
        "2000-02-29 23:59:59": "2000-02-29 23:59:59", "0001-01-01 00:00:00": "0001-01-01 00:00:00",
        "9999-12-31 23:59:59": "9999-12-31 23:59:59",
    },
    "day": {"": "", "2025-01-30": "2025-01-30", "2024-02-29": "2024-02-29"},
    "text": {
        "": "", " ": " ", "\t\n": "\t\n", " x ": " x ", "NA": "NA", "NULL": "NULL", "None": "None", "nan": "nan",
        "0012": "0012", "=1+1": "=1+1", "e\u0301": "e\u0301", "\u202e": "\u202e", "\x1b[31m": "\x1b[31m",
    },
    "word": {"": "", "Yes": "Yes", "it's \"so\", so": "it's \"so\", so"},
    "rating": {"": "", "1": 1, "5": 5},
    "amount": {"": "", "0": 0.0, "99.99": 99.99},
    "short": {"": "", "abc": "abc", "äöü": "äöü"},
    "since": {"2025-01-01 00:00:00": "2025-01-01 00:00:00", "2025-12-31T23:59:59": "2025-12-31 23:59:59"},
    "odd": {"": "", "6": 6},
    "must_text": {" x": " x", "NULL": "NULL", "\u200b": "\u200b"},
}  # fmt: skip

REFUSED: dict[str, dict[str, str]] = {
    "whole": {
        **dict.fromkeys(
            ["1_000", "12.0", " 12", "12 ", "+12", "12\n", "1e3", "٤٢", "４２", "0x1f", "--1", "-", "True", "nan", " "],
            "int_parsing",
        ),
        str(2**63): "less_than_equal", str(-(2**63) - 1): "greater_than_equal", "9" * 5000: "int_parsing_size",
    },
    "number": dict.fromkeys(
        ["nan", "NaN", "inf", "1 000", "-Infinity", "1e999", "1e-400", "1_0.5", "1,5", ".5", "5.", "+1", " 1", "1\n",
         "٤.٥", "1e", "99999999999999999.99", "0.12345678901234567890", "9007199254740993",
         "1e-99999999999", "9" * 5000, "0x1p3"],
        "float_parsing",
    ),
    "moment": dict.fromkeys(
        ["2025", "20250130", "0", "-1", "1738224900", "2025-01-30", "2025-01-30 08:15", "2025-02-29 00:00:00",
         "1900-02-29 00:00:00", "2025-04-31 00:00:00", "2025-01-30 24:00:00", "2025-01-30 23:60:00",
         "2025-01-30 23:59:60", "0000-01-01 00:00:00", "2025-00-10 00:00:00", "2025-13-10 00:00:00",
         "2025-01-00 00:00:00", "30-01-2025 08:15:00", "01/30/2025 08:15:00", "3/7/2025 8:48", "2025-1-30 08:15:00",
         "2025-01-30t08:15:00", "2025-01-30_08:15:00", "2025-01-30  08:15:00", "2025-01-30 08:15:00\n",
         " 2025-01-30 08:15:00", "2025-01-30 08:15:00.5", "2025-01-30T08:15:00Z", "2025-01-30 08:15:00+05:30",
         "２025-01-30 08:15:00", "25-01-30 08:15:00", "yesterday"],
        "datetime_parsing",
    ),
    "day": dict.fromkeys(
        ["2025-02-29", "2025-01-30 00:00:00", "20250130", "30.01.2025", "2025-01-30\n", "0"], "date_parsing"
    ),
    "word": dict.fromkeys(["yes", "YES", "Yes ", " Yes", "Y", " ", "Ｙes"], "literal_error"),
    "rating": {"0": "greater_than_equal", "6": "less_than_equal", "4.5": "int_parsing"},
    "amount": {"-0.01": "greater_than_equal", "1e999": "float_parsing"},
    "short": {"abcd": "string_too_long"},
    "since": {"2024-12-31 23:59:59": "greater_than_equal", "2026-01-01 00:00:00": "less_than",
              "2024-12-31T23:59:59": "greater_than_equal"},
    "odd": {"7": "value_error"},
    "key": {"0": "greater_than", "-3": "greater_than", "": "missing", "x": "int_parsing"},
    "must_whole": {"": "missing", " ": "missing", "x": "int_parsing"},
    "must_number": {"": "missing", "\t": "missing"},
    "must_moment": {"": "missing", " ": "missing"},
    "must_text": dict.fromkeys(["", " ", "\t\r\n", "\u00a0\u2003\u3000", "\x85\u2028"], "missing"),
    "must_word": {"": "missing", " ": "missing", "Maybe": "literal_error"},
}  # fmt: skip


def cases(table: dict[str, dict[str, Any]]) -> Any:
    return pytest.mark.parametrize(
        ("column", "text", "outcome"),
        [
            pytest.param(name, text, outcome, id=f"{name}-{text[:40]!a}")
            for name, texts in table.items()
            for text, outcome in texts.items()
        ],
    )


@cases(ACCEPTED)
def test_a_text_that_fits_is_stored_as_its_value(column, text, outcome):
    rows, rejected = judged({column: text})

    assert rejected == []
    assert (rows[0][column], type(rows[0][column])) == (outcome, type(outcome))


@cases(REFUSED)
def test_a_text_that_does_not_fit_is_refused_with_its_code(column, text, outcome):
    rows, rejected = judged({column: text})

    assert rows == []
    assert codes(rejected) == [(column, outcome)]
    assert rejected[0].errors[0].value == text[:1_000]


def test_all_errors_of_a_record_are_reported_in_the_order_of_its_columns():
    bad = {"must_word": "", "moment": "now", "whole": "1.5", "key": "x", "number": "nan", "must_text": " "}

    rows, rejected = judged({}, bad, {})

    assert len(rows) == 2
    assert [(r.record, r.key) for r in rejected] == [(2, "x")]
    assert codes(rejected) == [
        ("key", "int_parsing"), ("whole", "int_parsing"), ("number", "float_parsing"), ("moment", "datetime_parsing"),
        ("must_text", "missing"), ("must_word", "missing"),
    ]  # fmt: skip


def test_messages_say_what_should_stand_there():
    _, rejected = judged(
        {"whole": "x", "number": "0.12345678901234567890", "moment": "2025-02-29 00:00:00", "must_word": "y"}
    )

    assert [error.message for error in rejected[0].errors] == [
        "Input should be a valid integer, unable to parse string as an integer",
        "Input should be a plain decimal number that can be kept as it is, of about 15 digits",
        "Input should be a valid datetime, YYYY-MM-DD HH:MM:SS and in the calendar",
        "Input should be 'Yes' or 'No'",
    ]


def test_rejects_of_the_reader_and_of_the_types_come_in_the_order_of_the_file():
    damaged = Damaged(2, [Error("parse", "stray_quote", None, None, "")], None)
    chunk = Chunk.of_rows([1, 3, 4], [[(PLAIN | {"key": key})[name] for name in NAMES] for key in ("a", "3", "b")])
    chunk.damaged.append(damaged)

    verdict = judge(EVERY, chunk)

    assert ([row[-1] for row in verdict.rows], [r.record for r in verdict.rejected]) == ([3], [1, 2, 4])


def test_an_empty_chunk_has_an_empty_verdict():
    assert judged() == ([], [])


# Any values at all.

texts = st.text(st.characters(exclude_categories=["Cs"]))
required_texts = texts.filter(lambda text: text and not text.isspace())
moments = st.datetimes(max_value=datetime(9999, 12, 31)).map(lambda moment: str(moment.replace(microsecond=0)))


integers = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "key": st.integers(1, 2**63 - 1), "whole": integers, "number": numbers, "moment": moments,
    "day": st.dates().map(str), "text": texts, "word": st.sampled_from(["Yes", "No"]), "rating": st.integers(1, 5),
    "amount": numbers.map(abs), "must_whole": integers, "must_moment": moments, "must_text": required_texts,
}  # fmt: skip
MAY_BE_EMPTY = ["whole", "number", "moment", "day", "text", "word", "rating", "amount"]


@untimed
@given(st.fixed_dictionaries(VALUES), st.sets(st.sampled_from(MAY_BE_EMPTY)))
def test_any_valid_values_come_out_as_they_were_written(values, empty):
    written = {name: "" if name in empty else repr(v) if isinstance(v, float) else str(v) for name, v in values.items()}

    rows, rejected = judged(written)

    assert rejected == []
    expected = values | dict.fromkeys(empty, "")
    assert {name: rows[0][name] for name in values} == expected


@untimed
@given(st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\Z"))
@example("2000-02-29 00:00:00")
@example("2100-02-29 00:00:00")
def test_a_timestamp_fits_when_the_calendar_has_it(text):
    try:
        datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
        exists = True
    except ValueError:
        exists = False

    assert bool(judged({"moment": text})[0]) == exists
    assert bool(judged({"moment": text.replace(" ", "T")})[0]) == exists


def test_every_day_of_a_century_fits_and_no_thirtieth_of_february():
    days = [{"day": str(date(2000, 1, 1) + timedelta(n))} for n in range(36_525)]
    others = [{"day": f"{year}-02-30"} for year in range(2000, 2100)]

    rows, rejected = judged(*days, *others)

    assert (len(rows), len(rejected)) == (36_525, 100)


@untimed
@given(st.from_regex(r"\A-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"))
def test_a_number_is_stored_as_it_is_written_or_refused(text):
    rows, rejected = judged({"number": text})

    if rows:
        assert Decimal(repr(rows[0]["number"])) == Decimal(text)
    else:
        assert codes(rejected) == [("number", "float_parsing")]
        assert Decimal(repr(float(text))) != Decimal(text)


@untimed
@given(st.text("0123456789-+. eE_٤"))
def test_a_whole_number_is_stored_as_it_is_written_or_refused(text):
    rows, _ = judged({"must_whole": text})

    assert bool(rows) == (text.removeprefix("-").isdecimal() and text.isascii() and -(2**63) <= int(text) < 2**63)
