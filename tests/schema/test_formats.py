from datetime import date, datetime
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from foundation import Format, Record, SchemaError
from foundation.schema.formats import guess
from tests.support.inspection import query
from tests.support.loading import ingest


@pytest.mark.parametrize(
    ("pattern", "kind", "text", "stored"),
    [
        ("%d/%m/%Y %H:%M", datetime, "3/7/2025 8:48", "2025-07-03 08:48:00"),
        ("%m/%d/%Y %H:%M", datetime, "3/7/2025 8:48", "2025-03-07 08:48:00"),
        ("%m/%d/%Y %I:%M %p", datetime, "3/7/2025 12:05 AM", "2025-03-07 00:05:00"),
        ("%d.%m.%Y", datetime, "03.07.2025", "2025-07-03 00:00:00"),
        ("%d.%m.%Y", date, "03.07.2025", "2025-07-03"),
        ("%d %b %y", date, "3 Jul 25", "2025-07-03"),
        ("%Y-%m-%dT%H:%M", datetime, "2025-07-03T08:48", "2025-07-03 08:48:00"),
        ("1.234,56", float, "1.876,15", "1876.15"),
        ("1.234,56", float, "-1876,15", "-1876.15"),
        ("1.234,56", float, "7", "7"),
        ("1 234,56", float, "1\u202f876\xa0000,5", "1876000.5"),
        ("1,234", int, "12,345", "12345"),
        ("1234,56", float, "0,5", "0.5"),
    ],
)
def test_a_text_is_read_in_its_format(pattern, kind, text, stored):
    assert Format(pattern).read(text, kind) == stored


@pytest.mark.parametrize(
    ("pattern", "kind", "text"),
    [
        ("%d/%m/%Y", date, "30/2/2025"), ("%d/%m/%Y", date, "3/13/2025"), ("%d/%m/%Y", date, "2025-07-03"),
        ("%d/%m/%Y", date, "3/7/2025 "), ("1.234,56", float, "1.87,15"), ("1.234,56", float, "1,876.15"),
        ("1.234,56", float, ".876"), ("1.234,56", float, "1.876,"), ("1.234,56", float, "nan"),
        ("1.234,56", float, "1e3"), ("1.234,56", float, "١,٥"), ("1,234", int, "1.0"), ("1,234", int, "1,2345"),
    ],
)  # fmt: skip
def test_a_text_in_another_format_is_refused(pattern, kind, text):
    with pytest.raises(ValueError, match=r"is not written like|does not match|unconverted data|day is out of range"):
        Format(pattern).read(text, kind)


@pytest.mark.parametrize(
    "pattern", ["", "%d/%m", "%H:%M", "%d/%m/%Y %f", "%d/%m/%Y %z", "%d %d %m %Y", "%d/%m/%Y %H", "1.234.56", "9,99"]
)
def test_a_pattern_that_is_neither_a_time_nor_a_number_is_refused(pattern):
    with pytest.raises(SchemaError, match=r"write a time .* or a number"):
        Format(pattern)


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [(date, "%d/%m/%Y %H:%M"), (int, "1.234,56"), (str, "1.234"), (float, "%d/%m/%Y"), (Literal["a"], "1.234")],
)
def test_a_format_of_another_type_is_refused_when_it_is_declared(kind, pattern):
    with pytest.raises(SchemaError, match=r"thing: no .* is written like"):

        class Thing(Record, table="things", key="id"):
            id: int
            thing: Annotated[kind, Format(pattern)]


def test_a_key_takes_no_format():
    with pytest.raises(SchemaError, match="id: keys are compared as they stand"):

        class Thing(Record, table="things", key="id"):
            id: Annotated[int, Format("1.234")]


class Sale(Record, table="sales", key="id"):
    id: int
    at: Annotated[datetime, Format("%d/%m/%Y %H:%M")]
    due: Annotated[date, Format("%d.%m.%Y")] | None = None
    amount: Annotated[float, Format("1.234,56")] = Field(ge=0)


def load(folder, *lines):
    text = "".join(f"{line}\n" for line in ("id,at,due,amount", *lines))
    (folder / "sales.csv").write_text(text, "utf-8")
    return ingest(folder, folder / "s.db", sources=[Sale.__source__])


def test_what_is_written_in_a_declared_format_is_stored_in_the_usual_one(tmp_path):
    load(tmp_path, '1,3/7/2025 8:48,30.01.2025,"1.876,15"', "2,03/07/2025 08:48,,5")

    assert query(tmp_path / "s.db", "SELECT id, at, due, amount FROM sales") == [
        (1, "2025-07-03 08:48:00", "2025-01-30", 1876.15),
        (2, "2025-07-03 08:48:00", None, 5.0),
    ]


def test_what_is_not_is_rejected_with_the_format_in_words(tmp_path):
    load(tmp_path, "1,2025-07-03 08:48:00,30/01/2025,1.5", '2,3/7/2025 8:48,,"-1,5"', "3,3/7/2025 8:48,,")

    found = query(tmp_path / "s.db", 'SELECT code, "column", value, message FROM _errors ORDER BY reject_id, number')
    told = "Input should be written as it is declared: "
    assert found == [
        ("datetime_parsing", "at", "2025-07-03 08:48:00", f"{told}%d/%m/%Y %H:%M"),
        ("date_parsing", "due", "30/01/2025", f"{told}%d.%m.%Y"),
        ("float_parsing", "amount", "1.5", f"{told}1.234,56"),
        ("greater_than_equal", "amount", "-1,5", "Input should be greater than or equal to 0"),
        ("missing", "amount", "", "Field required"),
    ]


def test_another_format_is_another_declaration():
    class Other(Record, table="sales", key="id"):
        id: int
        at: Annotated[datetime, Format("%m/%d/%Y %H:%M")]
        due: Annotated[date, Format("%d.%m.%Y")] | None = None
        amount: Annotated[float, Format("1.234,56")] = Field(ge=0)

    assert Other.__source__.fingerprint != Sale.__source__.fingerprint
    assert Sale.__source__.dictionary()[1]["allowed"] == "pattern %d/%m/%Y %H:%M"


@given(st.integers(-(10**12), 10**12), st.integers(0, 99), st.sampled_from([".,", ",.", " ,", "',", "’.", ","]))
def test_a_number_comes_back_from_every_format(whole, cents, marks):
    group, point = marks[:-1], marks[-1]
    text = f"{whole:_}".replace("_", group) + f"{point}{cents:02}"

    assert Format(f"1{group}234{point}56").read(text, float) == f"{whole}.{cents:02}"


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.sampled_from("/.-"), st.booleans(), st.booleans())
def test_a_guessed_format_reads_the_time_it_was_guessed_from(moment, sep, is_american, has_seconds):
    days = (moment.month, moment.day) if is_american else (moment.day, moment.month)
    text = f"{days[0]}{sep}{days[1]}{sep}{moment.year:04} {moment:%H:%M}" + (f":{moment:%S}" if has_seconds else "")

    read = set()
    for form in guess(text):
        try:
            read.add(form.read(text, datetime))
        except ValueError:
            assert max(days) > 12
    assert str(moment.replace(microsecond=0, second=moment.second if has_seconds else 0)) in read


def test_nothing_is_guessed_from_a_text():
    assert [guess(text) for text in ("", "Pune", "R1", "1.2.3.4", "2025-01-30T08:15:00Z", "12 High Street")] == [[]] * 6
