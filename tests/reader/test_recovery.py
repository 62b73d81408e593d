"""The strict grammar, and where a malformed record ends, on bytes alone; `test_reader` shows the same on files."""

import csv
import io
import sys
from collections.abc import Iterator
from itertools import islice, repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import SourceError
from foundation.reader.dialect import Layout
from foundation.reader.grammar import MAX_FIELD, MAX_RECORD
from foundation.reader.header import read_header
from foundation.reader.recovery import ParsedRecord, Scanner
from foundation.reader.splitter import Lines

untimed = settings(deadline=None)  # a busy machine is no fault
COLUMNS = ["stop_id", "name", "address", "note", "fee", "comment"]
WITHOUT_NUL = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


def parsed(data: bytes, width: int = 6, *, is_numbered: bool = False) -> list[ParsedRecord]:
    return Scanner(io.BytesIO(data).readlines(), list, COLUMNS[:width], is_numbered=is_numbered).records(sys.maxsize)


def codes(record: ParsedRecord) -> list[str]:
    return [error.code for error in record.errors]


def written(rows: list[list[str]], **style: Any) -> bytes:
    """The rows as `csv` writes them; without a row of no text at all, which would be a blank line."""
    file = io.StringIO(newline="")
    csv.writer(file, **{"lineterminator": "\n"} | style).writerows(rows)
    return file.getvalue().encode()


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"1,b,c\n", ["1", "b", "c"]),
        (b"1,b,c\r\n", ["1", "b", "c"]),
        (b"1,b,c", ["1", "b", "c"]),
        (b"1,b,c\r", ["1", "b", "c"]),
        (b'1,b,"c"\r', ["1", "b", "c"]),
        (b",,\n", ["", "", ""]),
        (b'"","",""\n', ["", "", ""]),
        (b'1,"b,\nB",c\n', ["1", "b,\nB", "c"]),
        (b'1,"b\r\n\rB",c\r\n', ["1", "b\r\n\rB", "c"]),
        (b'1,"""b"" ""B""","""c"\n', ["1", '"b" "B"', '"c']),
        (b"1, b ,\tc\n", ["1", " b ", "\tc"]),
        ("1,a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1e,\ufeff\n".encode(),
         ["1", "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1e", "\ufeff"]),
    ],
    ids=["LF", "CRLF", "no line end", "half a line end", "half a line end and quotes", "empty",
         "empty in quotes", "separator and line end in quotes",
         "carriage returns in quotes", "doubled quotes", "white space", "other line separators"],
)  # fmt: skip
def test_a_clean_record_has_its_fields_as_written(line, fields):
    record = parsed(line, 3)[0]

    assert (record.fields, record.errors) == (fields, [])


@pytest.mark.parametrize(
    ("line", "code", "before"),
    [
        (b"7,b\n", "too_few_fields", ["7", "b"]),
        (b"7,b,c,d\n", "too_many_fields", ["7", "b", "c"]),
        (b'7,"b",c,d\n', "too_many_fields", ["7", "b", "c"]),
        (b'7,b"B,c\n', "stray_quote", ["7"]),
        (b'7,"b"B,c\n', "stray_quote", ["7"]),
        (b'7,"b",c"\n', "stray_quote", ["7", "b"]),
        (b'7"7,b,c\n', "stray_quote", []),
        (b'7,"b,c\n', "unclosed_quote", ["7"]),
        (b'7,"b,c""\n', "unclosed_quote", ["7"]),
        (b"7,b\rB,c\n", "bare_carriage_return", ["7"]),
        (b"7,b,c\r\r\n", "bare_carriage_return", ["7", "b"]),
        (b"7,b\0,c\n", "nul_byte", ["7", "b\0", "c"]),
        (b"7,b\xff,c\n", "invalid_utf8", ["7", "b\ufffd", "c"]),
        (b"7,b\xed\xa0\x80,c\n", "invalid_utf8", ["7", "b\ufffd\ufffd\ufffd", "c"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_numbered", [True, False])
def test_a_malformed_record_costs_itself_and_keeps_the_fields_before(line, code, before, is_numbered):
    records = parsed(b"6,b,c\n" + line + b"8,b,c\n9,b,c\n", 3, is_numbered=is_numbered)

    assert [(s.first, s.stop, s.fields, codes(s)) for s in records] == [
        (0, 1, ["6", "b", "c"], []),
        (1, 2, before, [code]),
        (2, 3, ["8", "b", "c"], []),
        (3, 4, ["9", "b", "c"], []),
    ]


def test_every_undecodable_field_is_named_with_its_bytes():
    errors = parsed(b"1,b\xffB,\0\n", 3)[0].errors

    assert [(e.stage, e.code, e.column, e.value) for e in errors] == [
        ("decode", "invalid_utf8", "name", "b\\xffB"),
        ("decode", "nul_byte", "address", "\\x00"),
    ]
    assert errors[0].message == "byte 2 of the field is not UTF-8: invalid start byte"


@pytest.mark.parametrize("damaged", [b"7,b\n", b'7,b"B,c\n', b'7,"b\n', b'7,"b\n\nB"x,c\n'], ids=str)
def test_blank_lines_belong_to_no_record(damaged):
    records = parsed(b"\n\r\n6,b,c\n\n" + damaged + b"\n\r\n8,b,c\n\n", 3, is_numbered=True)

    lines = damaged.count(b"\n")
    assert [(s.first, s.stop, bool(s.errors)) for s in records] == [
        (2, 3, False), (4, 4 + lines, True), (6 + lines, 7 + lines, False),
    ]  # fmt: skip


def test_a_line_end_in_quotes_is_read_on_from_what_more_gives():
    lines = [b'1,"b\n']
    scanner = Scanner(lines, iter([[b"B\n"], [b'C",c\n'], []]).__next__, COLUMNS[:3])

    assert scanner.records(1) == [ParsedRecord(0, 3, ["1", "b\nB\nC", "c"], [])]
    assert (scanner.used, len(lines)) == (3, 3)


@pytest.mark.parametrize(
    ("line", "count"), [(b"\n", 400_000), (b"a" * 10**6 + b"\n", 80)], ids=["many lines", "long lines"]
)
def test_a_quote_that_stays_open_is_not_followed_for_ever(line, count):
    supply = repeat(line, count)
    scanner = Scanner([b'1,"b\n'], lambda: list(islice(supply, 1)), COLUMNS[:3])

    record = scanner.records(1)[0]

    assert codes(record) == ["unclosed_quote"]
    assert sum(map(len, scanner.lines)) < MAX_RECORD + 2 * len(line)
    assert len(scanner.lines) < MAX_RECORD / 60


def test_the_search_for_a_stray_tail_ends_at_a_large_line():
    large = b"a" * MAX_FIELD + b",b\n"
    scanner = Scanner([b"1,b,c\n"], lambda: [large], COLUMNS[:3])

    assert scanner.records(1) == [ParsedRecord(0, 1, ["1", "b", "c"], [])]
    assert len(scanner.lines) == 2


@pytest.mark.parametrize(
    ("data", "width", "found"),
    [
        (b'1,b,"c"\nC"\n2,b,c\n', 3, [(2, ["stray_quote"]), (3, [])]),
        (b'1,b,c\n\nC ""C"" C"\n2,b,c\n', 3, [(3, ["stray_quote"]), (4, [])]),
        (b'1,b, B\nB",c\n2,b,c\n', 3, [(2, ["stray_quote"]), (3, [])]),
        (b'1,b, B, B\nB",c\n2,b,c\n', 3, [(2, ["stray_quote"]), (3, [])]),
        (b'1,b, B\nB",c,d,e\n2,b,c,d,e\n', 5, [(2, ["stray_quote"]), (3, [])]),
        (b'A,b, B, B\nB",c\nB,b,c\n', 3, [(2, ["stray_quote"]), (3, [])]),
        (b'1,b\nB",c,"d\n2,b,c\n', 3, [(1, ["too_few_fields"]), (2, ["stray_quote"]), (3, [])]),
        (b'1,b\nB,"\n2,b,c\n', 3, [(1, ["too_few_fields"]), (2, ["unclosed_quote"]), (3, [])]),
        (b'"a\n\nA"A\n"b"\n', 1, [(3, ["stray_quote"]), (4, [])]),
        (b'"a\nb\n', 1, [(1, ["unclosed_quote"]), (2, [])]),
    ],
    ids=["a quote too many at the end of a line", "and a blank line", "a quote too few", "and many commas", "and few",
         "and text keys", "and a second damage", "an opening quote", "one column", "one column, no closing quote"],
)  # fmt: skip
def test_the_lines_of_a_malformed_text_stay_together(data, width, found):
    records = parsed(data, width, is_numbered=data.startswith(b"1"))

    assert [(record.stop, codes(record)) for record in records] == found


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'1,"b,c\n2,b,c\n3,b",c,d\n', [(1, ["unclosed_quote"]), (2, []), (3, ["stray_quote"])]),
        (b'A,"b"B,c\nB,"b\nB"B,c\nC,b,c\n', [(1, ["stray_quote"]), (3, ["stray_quote"]), (4, [])]),
        (b'A,b"b,c\nB,b"b,c\nC,b,c\n', [(1, ["stray_quote"]), (2, ["stray_quote"]), (3, [])]),
        (b'1,"b"B,c\n2,b"B,c\n3,b,c\n', [(1, ["stray_quote"]), (2, ["stray_quote"]), (3, [])]),
        (b'1,b\n2,b, B",c,\n3,b,c\n', [(1, ["too_few_fields"]), (2, ["stray_quote"]), (3, [])]),
    ],
    ids=["a sound one between quotes that match", "text keys, lines", "text keys", "numbers", "no opening quote"],
)
def test_malformed_records_one_after_the_other_are_separated(data, found):
    assert [(record.stop, codes(record)) for record in parsed(data, 3, is_numbered=data[:1] == b"1")] == found


def test_a_header_has_names_or_a_reason():
    lines = Lines(io.BytesIO(b'\n"a\nA",b\n1,2\n'))
    names, positions, before, unknown = read_header(lines, "x.csv", Layout())

    assert (before, names, positions, unknown) == (b'\n"a\nA",b\n', ["a\nA", "b"], [0, 1], [])
    assert lines.line() == b"1,2\n"
    for line, words in (
        (b"a,b\xff\n", "byte 2 of the field is not UTF-8: invalid start byte"),
        (b'a"b\n', "a quote where"),
    ):
        with pytest.raises(SourceError, match=words):
            read_header(Lines(io.BytesIO(line)), "x.csv", Layout())


@untimed
@given(st.lists(st.lists(st.text(WITHOUT_NUL), min_size=3, max_size=3)), st.sampled_from(["\n", "\r\n"]))
def test_quoted_texts_come_back_as_csv_reads_them(rows, line_end):
    data = written(rows, quoting=csv.QUOTE_ALL, lineterminator=line_end)

    records = parsed(data, 3)

    assert [(s.fields, s.errors) for s in records] == [(row, []) for row in rows]
    assert [s.fields for s in records] == list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


@untimed
@given(st.lists(st.lists(st.text('1a,"\n'), min_size=2, max_size=3), max_size=6), st.binary(max_size=3), st.randoms())
def test_what_is_stored_of_malformed_text_is_what_csv_reads_in_the_same_bytes(rows, noise, random):
    data = bytearray(written(rows))
    at = random.randint(0, len(data))
    data[at:at] = noise
    lines = io.BytesIO(data).readlines()

    sound = [record for record in parsed(bytes(data), 3) if not record.errors]

    for record in sound:
        text = b"".join(lines[record.first : record.stop]).decode()
        assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == [record.fields]


# In the manner of the Pollock benchmark (VLDB 2023): one damage at every place of every record of a table.


def table(key: str = "", note: int = 2) -> list[list[str]]:
    """Twelve records with commas, quotes and line ends in texts; the column *note* is the one of several lines."""
    notes = ["", 'said "no"', "left\nat the gate", 'two "quoted"\nlines, a comma', "1, one\ntwo\nthree", '"', "x"] * 2
    rows = [[f"{key}{n}", f"Stop {n}", f"{n}{',' * (n % 2)} Mill Lane", "", f"{n}.50", ""] for n in range(1, 13)]
    for row, text in zip(rows, notes, strict=False):
        row[note] = text.replace(",", ";") if note == 1 else text  # else the last lines are records of their own
    return rows


TABLES = {
    "minimal": (table(), {}),
    "quoted": (table(), {"quoting": csv.QUOTE_ALL}),
    "CRLF": (table(), {"lineterminator": "\r\n"}),
    "text key": (table("AB"), {}),
    "text key, quoted": (table("AB"), {"quoting": csv.QUOTE_ALL}),
    "lines in the last column": (table(note=5), {}),
    "lines in the last column, quoted": (table(note=5), {"quoting": csv.QUOTE_ALL}),
    "lines in the second column": (table(note=1), {}),
}
each_table = pytest.mark.parametrize(("rows", "style"), TABLES.values(), ids=TABLES)


def separators(record: bytes) -> Iterator[int]:
    """Where the separators of a sound record are, behind an even number of quotes."""
    return (at for at, byte in enumerate(record) if byte == ord(",") and record[:at].count(b'"') % 2 == 0)


def wrongly_read(rows: list[list[str]], style: dict[str, Any], number: int, damaged: bytes) -> list[ParsedRecord]:
    """What comes of the table when a record is damaged; nothing if just that one is refused, in its place."""
    parts = [written([row], **style) for row in rows]
    parts[number] = damaged
    records = parsed(b"".join(parts), is_numbered=rows[0][0].isdigit())
    stops = [b"".join(parts[: n + 1]).count(b"\n") for n in range(len(parts))]
    expected = [(stop, None if n == number else row) for n, (stop, row) in enumerate(zip(stops, rows, strict=True))]
    return [] if [(s.stop, None if s.errors else s.fields) for s in records] == expected else records


@each_table
def test_a_quote_too_many_anywhere_costs_that_record_alone(rows, style):
    wrong = {}
    for number, row in enumerate(rows):
        record = written([row], **style)
        for at in range(len(record.rstrip()) + 1):
            damaged = record[:at] + b'"' + record[at:]
            if records := wrongly_read(rows, style, number, damaged):
                wrong[damaged] = records

    assert wrong == {}


@each_table
def test_a_quote_too_few_anywhere_costs_that_record_alone(rows, style):
    wrong = {}
    for number, row in enumerate(rows):
        record = written([row], **style)
        for at in (at for at, byte in enumerate(record) if byte == ord('"')):
            damaged = record[:at] + record[at + 1 :]
            if records := wrongly_read(rows, style, number, damaged):
                wrong[damaged] = records

    assert wrong == {}


@each_table
@pytest.mark.parametrize("instead", [b"", b",,"], ids=["too few", "too many"])
def test_a_separator_too_few_or_too_many_anywhere_costs_that_record_alone(rows, style, instead):
    wrong = {}
    for number, row in enumerate(rows):
        record = written([row], **style)
        for at in separators(record):
            damaged = record[:at] + instead + record[at + 1 :]
            if records := wrongly_read(rows, style, number, damaged):
                wrong[damaged] = records

    assert wrong == {}


@each_table
def test_a_record_cut_off_anywhere_costs_that_record_alone(rows, style):
    wrong = {}
    for number, row in enumerate(rows):
        record = written([row], **style)
        for at in range(1, max(separators(record))):
            damaged = record[:at].rstrip() + b"\n"
            if records := wrongly_read(rows, style, number, damaged):
                wrong[damaged] = records

    assert wrong == {}


def test_an_address_that_begins_like_a_number_is_no_record():
    """Behind damage, a line counts as a record's beginning for the number in it; `12, Fort` must not deceive."""
    rows = [[str(n), f"Stop {n}", f"Flat {n}\n12, Fort", "", "", ""] for n in range(5)]
    record = written([rows[2]])

    assert [
        (at, records)
        for at in range(len(record) - 1)
        if (records := wrongly_read(rows, {}, 2, record[:at] + b'"' + record[at:]))
    ] == []


def test_records_are_one_if_their_quotes_match():
    """Ambiguous: by the grammar, what is between an opening and a closing quote is one field, whoever lost which."""
    records = parsed(b'1,"b,c,d\n2,b",c,d\n3,b,c,d\n', 4, is_numbered=True)

    assert [(s.stop, s.fields, s.errors) for s in records] == [
        (2, ["1", "b,c,d\n2,b", "c", "d"], []), (3, ["3", "b", "c", "d"], []),
    ]  # fmt: skip


def test_a_quote_too_many_before_a_text_that_begins_with_a_line_end_costs_both_records():
    """Ambiguous: up to that line end they are one sound record, of which a rest is left over."""
    records = parsed(b'1,b,c,"\n2,"\nb",c,d\n3,b,c,d\n', 4, is_numbered=True)

    assert [(s.stop, codes(s)) for s in records] == [(3, ["stray_quote"]), (4, [])]


def test_a_line_in_quotes_that_would_be_a_record_counts_as_one_after_a_malformed_record():
    """Ambiguous: two records of which the first lost its closing quote look the same."""
    records = parsed(b'1,"a\n2,b,c\nB"x,c\n', 3, is_numbered=True)

    assert [(s.first, s.stop, codes(s)) for s in records] == [
        (0, 1, ["unclosed_quote"]), (1, 2, []), (2, 3, ["stray_quote"]),
    ]  # fmt: skip


# How long it takes.


def calls_of(lines: list[bytes]) -> int:
    """How many functions are called to scan the lines: a measure of time that is the same everywhere."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        parsed(b"".join(lines), is_numbered=True)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("bad", [b'"unclosed', b'stray"', b'",' + b'""' * 9, b'"', b'"a\nb', b"x,y", b"\r"], ids=str)
@pytest.mark.parametrize("other", [b"", b'""', b'"two\nlines"'], ids=["without quotes", "empty in quotes", "lines"])
def test_the_work_grows_with_the_lines_and_not_with_their_square(bad, other):
    few, many = ([b"%d,b,%s,d,e,f\n" % (n, other if n % 100 else bad) for n in range(k)] for k in (500, 5_000))

    assert calls_of(many) < 12 * calls_of(few)


def test_a_field_of_many_doubled_quotes_does_not_hold_up_a_search_for_the_next_record():
    many = b'2,"' + b'""' * 1_000_000 + b'",c\n'

    records = parsed(b'1,"b\n' + many, 3, is_numbered=True)

    assert [(s.stop, codes(s)) for s in records] == [(1, ["unclosed_quote"]), (2, [])]
