"""Clean blocks split in one pass, compared with the `csv` module and with reading record by record."""

import csv
import io
import sys

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from foundation.reader.dialect import COMMAS, Dialect
from foundation.reader.recovery import ParsedRecord, Scanner
from foundation.reader.splitter import RECORD_END, split
from tests.support.effort import effort

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('a,"\r\n\x1e\x1f'), max_size=6)
STYLES = st.builds(
    dict, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), lineterminator=st.sampled_from(["\n", "\r\n"])
)
PARTS = st.lists(st.sampled_from([b"a", b",", b'"', b"\n", b"\r\n", b"\r", b"\xc3\xa9"])).map(b"".join)
many = settings(deadline=None, max_examples=effort(300, 2_000, 5_000))


def records(block: bytes, width: int, dialect: Dialect = COMMAS) -> list[list[str]] | None:
    fields, is_whole = split(block, width, dialect)
    if not is_whole:
        return None
    assert set(fields[width :: width + 1]) <= {RECORD_END}
    return [fields[at : at + width] for at in range(0, len(fields), width + 1)]


def parsed(block: bytes, width: int, dialect: Dialect = COMMAS) -> list[ParsedRecord]:
    return Scanner(io.BytesIO(block).readlines(), list, ["a"] * width, dialect).records(sys.maxsize)


def one_by_one(block: bytes, width: int) -> list[list[str] | None]:
    return [None if record.errors else record.fields for record in parsed(block, width)]


@pytest.mark.sweep
@many
@given(
    st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1)),
    STYLES,
)
@example([["1", 'a\n"b"'], ["2", ""]], {"quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"})
def test_what_is_split_comes_back_as_it_was_written(rows, style):
    file = io.StringIO(newline="")
    csv.writer(file, **style).writerows(rows)
    text = file.getvalue()
    assume(list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows)  # it does not quote every \r

    found = records(text.encode(), len(rows[0]))

    is_suspicious = any(mark in text.replace("\r\n", "") for mark in "\0\x1e\x1f\r") or len(rows[0]) == 1
    assert found == rows or (found is None and is_suspicious)


@pytest.mark.sweep
@many
@given(st.binary(max_size=40) | PARTS, st.integers(1, 3))
def test_what_is_split_is_what_is_read_record_by_record_and_by_csv(block, width):
    found = records(block, width) if block else None

    if found is not None:
        assert found == one_by_one(block, width)
        assert found == list(csv.reader(io.StringIO(block.decode(), newline=""), strict=True))


@pytest.mark.sweep
@many
@given(st.lists(PARTS | st.just(b'1,b\n2,"c\nd"\n') | st.binary(max_size=9)).map(b"".join), st.integers(1, 3))
def test_the_clean_records_before_a_suspicious_one_are_split(block, width):
    fields, is_whole = split(block, width)

    lines = len(fields) // (width + 1) + "".join(fields).count("\n")
    clean = b"".join(io.BytesIO(block).readlines()[:lines])
    assert is_whole or not clean or split(clean, width) == (fields, True)


@pytest.mark.sweep
@many
@given(
    st.binary(max_size=40) | PARTS, st.integers(1, 3), st.sampled_from(";\t|^ ~"), st.sampled_from(["utf-8", "latin-1"])
)
@example(b'1,12 High\nStreet",x\n2,b,c\n', 3, ";", "utf-8")
def test_another_separator_in_the_place_of_commas_gives_the_same(block, width, mark, encoding):
    other = block.translate(bytes.maketrans(b"," + mark.encode(), mark.encode() + b","))
    back = str.maketrans({",": mark, mark: ","})
    dialects = Dialect(",", encoding), Dialect(mark, encoding)

    found, wanted = (records(b, width, d) for b, d in zip((other, block), dialects[::-1], strict=True))
    parsed_records, wanted_parsed_records = (
        parsed(b, width, d) for b, d in zip((other, block), dialects[::-1], strict=True)
    )

    assert (found and [[field.translate(back) for field in row] for row in found]) == wanted
    assert [
        (s.first, s.stop, [f.translate(back) for f in s.fields], [e.code for e in s.errors]) for s in parsed_records
    ] == [(s.first, s.stop, s.fields, [e.code for e in s.errors]) for s in wanted_parsed_records]


@pytest.mark.parametrize(
    ("block", "rows"),
    [
        (b"1,b\n2,c\n", [["1", "b"], ["2", "c"]]),
        (b'1,"b\r\nB, ""B"""\r\n2,""', [["1", 'b\r\nB, "B"'], ["2", ""]]),
        (b'"",""\n,\n', [["", ""], ["", ""]]),
        (b'1,"""",\n'.replace(b",\n", b"\n"), [["1", '"']]),
    ],
    ids=["plain", "quotes", "nothing", "a quote"],
)
def test_a_clean_block_is_split(block, rows):
    assert records(block, 2) == rows


@pytest.mark.parametrize(
    "block",
    [
        b"1,b\n\n2,c\n", b"1\n2,c,d\n", b"1,b,c\n2\n", b'1,b"c\n', b'1,"b\n', b"1,b\rc\n", b"1,\0\n", b"1,\xff\n",
        b"1,\x1f\n", b"1,\x1e\n", b'1,"b"c\n', b' "1",b\n', b'"",\n""', b"\n1\n", b"\n\n1\n",
    ],
    ids=str,
)  # fmt: skip
def test_a_suspicious_block_is_left_to_recovery(block):
    assert records(block, 2) is None
