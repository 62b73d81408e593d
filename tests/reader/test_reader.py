"""Files into chunks: what is read, where it stands, what is refused, in forms and sizes of every kind."""

import csv
import gzip
import hashlib
import io
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count, product
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation import SOURCES
from foundation.errors import SourceError
from foundation.reader.chunk import Chunk, Place, Position
from foundation.reader.grammar import MAX_FIELD, MAX_RECORD
from foundation.reader.reader import CHUNK_BYTES, Reader, reread
from foundation.schema.record import Record
from foundation.schema.source import Source
from tests.support.deliveries import SOUND, header, line

untimed = settings(deadline=None)  # a busy machine is no fault
SIZES = [1, 7, 1_000, 10**6]
each_size = pytest.mark.parametrize("size", SIZES)


class Stop(Record, table="stops", key="stop_id"):
    """A place where parcels wait."""

    stop_id: int
    name: str
    address: str | None = None
    note: str | None = None
    fee: float | None = None
    comment: str | None = None


STOPS: Source = Stop.__source__
HEADER = b"stop_id,name,address,note,fee,comment\n"


class Seen(NamedTuple):
    """One record as it came out of a reader; `fields` of a damaged one is None."""

    place: Place
    raw: bytes
    fields: list[str] | None
    codes: list[str]
    key: str | None


def chunks_of(reader: Reader, size: int) -> Iterator[Chunk]:
    while chunk := reader.chunk(size):
        yield chunk


def seen_in(chunk: Chunk) -> list[Seen]:
    fields = dict(zip(chunk.records, map(list, chunk.rows), strict=True))
    damaged = {damage.record: damage for damage in chunk.damaged}
    numbers = range(chunk.start.record + 1, chunk.end.record + 1)
    assert sorted([*fields, *damaged]) == list(numbers), "a record is lost, or read twice"
    return [
        Seen(*chunk.locate(n), None, [e.code for e in damaged[n].errors], damaged[n].key)
        if n in damaged
        else Seen(*chunk.locate(n), fields[n], [], None)
        for n in numbers
    ]


def read(path: Path, size: int = 1_000, source: Source = STOPS) -> list[Seen]:
    """All records of a file, after a check that its bytes are accounted for one by one."""
    with Reader(path, source.layout) as reader:
        seen = [record for chunk in chunks_of(reader, size) for record in seen_in(chunk)]
        assert (reader.at.record, reader.at.byte) == (len(seen), path.stat().st_size)
        assert reader.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    return seen


def write(folder: Path, *parts: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "stops.csv"
    path.write_bytes(b"".join(parts))
    return path


def rows_in(seen: list[Seen]) -> list[list[str] | None]:
    return [record.fields for record in seen]


def bytes_in(path: Path, seen: list[Seen]) -> list[bytes]:
    """What the byte ranges bring back from the file."""
    data = path.read_bytes()
    return [data[record.place.byte_start : record.place.byte_end] for record in seen]


def stop(number: int, name: str = "Ann", address: str = "12, High St") -> bytes:
    return f'{number},{name},"{address}",x,4.5,\n'.encode()


# What stands where.


@each_size
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_each_kind_of_file_gives_its_records_with_their_places(tmp_path, source, size):
    top = header(source.name).encode()
    parts = [line(source.name, key).encode() for key in range(1, 24)]
    path = write(tmp_path, top, *parts)

    seen = read(path, size, source)

    assert rows_in(seen) == [next(csv.reader(io.StringIO(part.decode(), newline=""))) for part in parts]
    assert [(s.place, s.raw, s.codes) for s in seen] == expected(parts, {}, top)
    assert bytes_in(path, seen) == parts


def test_the_columns_of_the_sources_are_those_of_the_files():
    assert {source.name: [c.header for c in source.columns] for source in SOURCES} == {
        name: list(fields) for name, fields in SOUND.items()
    }


ROWS = [["1", "Ann", "12, High St\nYard", "x", "4.5", ""], ["2", "B\u2028\x85\x0b\x0cob", "", 'a "b"', "5", "z"]] * 3


def in_form(
    rows: list[list[str]], line_end: str = "\n", quoting: int = csv.QUOTE_MINIMAL, columns: str = "012345"
) -> bytes:
    """The rows below a header, with the columns in this order; `-` stands for a column that is unknown."""
    names = HEADER.decode().strip().split(",")
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([row[int(c)] if c != "-" else "extra" for c in columns] for row in [names, *rows])
    return file.getvalue().encode()


FORMS = {
    "plain": in_form(ROWS),
    "CRLF": in_form(ROWS, "\r\n"),
    "mixed line ends": in_form(ROWS[:3], "\r\n") + in_form(ROWS[3:]).removeprefix(HEADER),
    "BOM": b"\xef\xbb\xbf" + in_form(ROWS),
    "BOM and quotes": b"\xef\xbb\xbf" + in_form(ROWS, quoting=csv.QUOTE_ALL),
    "every field quoted": in_form(ROWS, quoting=csv.QUOTE_ALL),
    "no final line end": in_form(ROWS).removesuffix(b"\n"),
    "no final line end, quoted": in_form(ROWS, quoting=csv.QUOTE_ALL).removesuffix(b"\n"),
    "other order": in_form(ROWS, columns="510342"),
    "unknown columns": in_form(ROWS, columns="-01-2345-"),
    "blank lines": b"\n\r\n" + in_form(ROWS[:3]) + b"\n\n" + in_form(ROWS[3:], "\r\n").split(b"\n", 1)[1] + b"\r\n\n",
}


@each_size
@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_the_form_of_a_file_changes_nothing_of_its_records(tmp_path, data, size):
    path = write(tmp_path, data)

    seen = read(path, size)

    assert rows_in(seen) == ROWS
    assert [record.raw for record in seen] == bytes_in(path, seen)
    assert [record.place.line for record in seen] == [
        data[: record.place.byte_start].count(b"\n") + 1 for record in seen
    ]


def test_unknown_columns_are_named_in_a_warning(tmp_path):
    with Reader(write(tmp_path, b"vat\x1b,stop_id,name,address,note,fee,comment,vat\x1b\n"), STOPS.layout) as reader:
        assert reader.warnings == ["unknown columns are left out: vat\\x1b, vat\\x1b"]


def test_a_file_of_a_header_only_has_no_records(tmp_path):
    for data in (HEADER, HEADER.rstrip(), HEADER + b"\r\n\n"):
        assert read(write(tmp_path, data)) == []


def test_a_chunk_has_no_more_records_than_asked_for(tmp_path):
    path = write(tmp_path, HEADER, *map(stop, range(10)))
    with Reader(path, STOPS.layout) as reader:
        assert [chunk.size for chunk in chunks_of(reader, 4)] == [4, 4, 2]

    with Reader(path, STOPS.layout) as reader, pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        reader.chunk(0)


@untimed
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=6, max_size=6)
    ),
    st.sampled_from([1, 2, 3, 1_000]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_any_texts_come_back_as_they_were_written(tmp_path_factory, rows, size, line_end, is_quoted):
    """`csv` of Python 3.11 leaves a carriage return unquoted where lines end with a line feed: not so here."""
    if not is_quoted:
        rows = [[text.replace("\r", "") for text in row] for row in rows]
    data = in_form(rows, line_end, csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL)

    assert rows_in(read(write(tmp_path_factory.getbasetemp(), data), size)) == rows


@untimed
@given(st.lists(st.sampled_from([b"1", b"a,b,c,d,e", b",", b'"', b"\n", b"\r", b"\0", b"\xff", b'"x\ny"', stop(1)])))
def test_any_bytes_are_read_alike_whatever_the_size_of_the_chunks(tmp_path_factory, parts):
    path = write(tmp_path_factory.getbasetemp(), HEADER, *parts)

    seen = read(path, 1_000)

    assert [read(path, size) for size in (1, 2, 3)] == [seen] * 3
    assert [record.raw for record in seen] == bytes_in(path, seen)
    ends = [len(HEADER), *(record.place.byte_end for record in seen)]
    starts = [*(record.place.byte_start for record in seen), path.stat().st_size]
    assert not b"".join(path.read_bytes()[a:b] for a, b in zip(ends, starts, strict=True)).strip(b"\r\n")


# What is too large.


@each_size
@pytest.mark.parametrize("quote", [b"", b'"'], ids=["bare", "quoted"])
def test_a_field_of_two_million_bytes_is_read(tmp_path, size, quote):
    text = b"a \xe2\x82\xac" * 400_000
    path = write(tmp_path, HEADER, stop(1), b"2,Bob,", quote, text, quote, b",,,\n", stop(3))

    assert [row[2] for row in rows_in(read(path, size)) if row] == ["12, High St", text.decode(), "12, High St"]


@each_size
@pytest.mark.parametrize(
    ("quote", "part", "times"),  # the fields themselves would stay in memory for all tests
    [
        (b"", b"a", 8 * 2**20),
        (b'"', b"a", 8 * 2**20),
        (b'"', b"a" * 1023 + b"\n", 2**13),
        (b"", b"\xe2\x82\xac", 2 * 2**20),
    ],
    ids=["bare", "quoted", "of many lines", "of fewer characters than bytes"],
)
def test_a_field_of_more_than_four_mebibytes_is_refused_and_nothing_else(tmp_path, size, quote, part, times):
    field = quote + part * times + quote
    path = write(tmp_path, HEADER, stop(1), b"2,Bob,", field, b",,,\n", stop(3), stop(4))

    seen = read(path, size)

    assert [record.codes for record in seen] == [[], ["field_too_large"], [], []]
    assert rows_in(seen)[2:] == [
        ["3", "Ann", "12, High St", "x", "4.5", ""],
        ["4", "Ann", "12, High St", "x", "4.5", ""],
    ]
    assert (
        bytes_in(path, seen)
        == [record.raw for record in seen]
        == [stop(1), b"2,Bob," + field + b",,,\n", stop(3), stop(4)]
    )


def peak_of(path: Path) -> int:
    """Bytes that reading a file took at most."""
    tracemalloc.start()
    with Reader(path, STOPS.layout) as reader:
        for _ in chunks_of(reader, 1_000):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"", b'"', b"," * 2**17], ids=["bare", "quoted", "many fields"])
@pytest.mark.parametrize("end", [b"", b"\n" + stop(3)], ids=["at the end", "before another record"])
def test_of_a_line_of_forty_mebibytes_sixteen_are_kept(tmp_path, start, end):
    path = write(tmp_path, HEADER, stop(1), b"2,Bob,", start, b"a" * 40 * 2**20, end)

    seen = read(path)

    assert seen[1].codes == ["field_too_large"]
    assert rows_in(seen)[2:] == ([["3", "Ann", "12, High St", "x", "4.5", ""]] if end else [])
    assert bytes_in(path, seen)[1] == path.read_bytes()[len(HEADER + stop(1)) :].removesuffix(stop(3))
    assert seen[1].raw == bytes_in(path, seen)[1][:MAX_RECORD]


@pytest.mark.parametrize(
    ("start", "part", "times"),
    [
        (b"", b"a", 40 * 2**20),
        (b'"', b"a", 40 * 2**20),
        (b'"' + b"aaaaaaaaaaaa\n" * 5_000, b"a", 40 * 2**20),
        (b'"', b"\n", 2**16),
        (b"", b'aa"', 14 * 2**20),
    ],
    ids=["one line", "one line in quotes", "lines and a long one", "many lines", "many quotes"],
)
def test_reading_takes_little_memory_whatever_it_reads(tmp_path, start, part, times):
    path = write(tmp_path, HEADER, stop(1), b"2,Bob,", start, part * times)

    assert peak_of(path) < 4 * MAX_RECORD


def test_a_record_that_is_kept_in_part_is_not_stored_in_part(tmp_path):
    """Cut off behind 16 MiB, this line has the right number of fields, but not the whole last one."""
    path = write(tmp_path, HEADER, b"1," + b",".join([b"a" * MAX_FIELD] * 5), b"\n", stop(2))

    seen = read(path)

    assert [record.codes for record in seen] == [["field_too_large"], []]
    assert seen[1].raw == bytes_in(path, seen)[1] == stop(2)


def test_a_chunk_ends_early_when_its_records_are_large(tmp_path):
    path = write(tmp_path, HEADER, *(b"%d,Bob,%s,,,\n" % (n, b"a" * 3 * 2**20) for n in range(9)))

    with Reader(path, STOPS.layout) as reader:
        chunks = list(chunks_of(reader, 1_000))

    assert [chunk.size for chunk in chunks] == [3, 3, 3]
    assert all(chunk.end.byte - chunk.start.byte < CHUNK_BYTES + 4 * 2**20 for chunk in chunks)


# Going on where one stopped.


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_a_reader_goes_on_from_every_checkpoint(tmp_path, size):
    path = write(tmp_path, b"\n", HEADER, *FORMS["CRLF"].splitlines(keepends=True)[1:], b"7,bad\n\n", stop(8))
    with Reader(path, STOPS.layout) as reader:
        chunks = list(chunks_of(reader, size))
    whole = read(path)

    for chunk in chunks:
        with Reader(path, STOPS.layout) as reader:
            assert reader.resume(chunk.end, chunk.digest)
            rest = [record for later in chunks_of(reader, 2) for record in seen_in(later)]
            assert rest == whole[chunk.end.record :]
            assert reader.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "changed",
    [HEADER + stop(1, "Bob") + stop(2) + stop(3), HEADER + stop(1)],
    ids=["before the checkpoint", "to a shorter one"],
)
def test_a_file_that_has_changed_is_read_from_its_start(tmp_path, changed):
    path = write(tmp_path, HEADER, stop(1), stop(2), stop(3))
    with Reader(path, STOPS.layout) as reader:
        chunk = next(chunks_of(reader, 2))
    path = write(tmp_path, changed)

    with Reader(path, STOPS.layout) as reader:
        assert not reader.resume(chunk.end, chunk.digest)
        assert next(chunks_of(reader, 9)).start == Position(0, 1, len(HEADER))


# What is refused.

REFUSED: dict[str, tuple[bytes | Callable[[Path], object], str, str]] = {
    "no file": (lambda path: None, "not_found", "stops.csv: no such file"),
    "a folder": (Path.mkdir, "not_text", "stops.csv: a folder, not a regular file"),
    "a pipe": (os.mkfifo, "not_text", "stops.csv: a pipe or a device, not a regular file"),
    "nothing": (b"", "empty_file", "stops.csv: the file is empty; its first line should name the columns"),
    "blank lines": (b"\n\r\n\n", "empty_file", "the file is empty"),
    "a BOM": (b"\xef\xbb\xbf", "empty_file", "the file is empty"),
    "a BOM and blank lines": (b"\xef\xbb\xbf\r\n\n", "empty_file", "the file is empty"),
    "a spreadsheet": (b"PK\x03\x04\x14\0\x06\0", "not_text", "perhaps a spreadsheet (.xlsx); export it as CSV"),
    "gzip": (gzip.compress(HEADER), "not_text", "compressed with gzip; let its name end with .gz, or unpack it"),
    "UTF-16": (HEADER.decode().encode("utf-16"), "not_text", "no CSV text but UTF-16 text; export it as UTF-8"),
    "UTF-16 without BOM": (HEADER.decode().encode("utf-16-le"), "not_text", "a NUL byte"),
    "NUL bytes": (b"\0" * 100_000, "not_text", "its first line cannot be read as column names: a NUL byte"),
    "Latin-1": ("stop_id,näme\n".encode("latin-1"), "not_text", "byte 2 of the field is not UTF-8"),
    "a header in cp1252": ("näme\n".encode("cp1252"), "not_text", "or declare its encoding, such as encoding='cp1252'"),
    "old Mac lines": (HEADER.replace(b"\n", b"\r1,"), "not_text", "a carriage return without a line feed"),
    "a broken header": (b'stop_id,"name\n1,Ann\n', "not_text", "its closing quote is missing"),
    "a huge line": (lambda path: path.write_bytes(b"a" * 40 * 2**20), "not_text", "a field of more than 4,194,304"),
    "semicolons": (HEADER.replace(b",", b";"), "missing_column", "separated by ';', export the file with commas"),
    "semicolons, quoted": (b'"stop_id";"name"\n', "not_text", "separated by ';', export the file with commas"),
    "tabs": (HEADER.replace(b",", b"\t"), "missing_column", r"separated by '\t', export the file with commas"),
    "no such columns": (b"stop_id,Name,fee\n", "missing_column",
        "the header lacks name, address, note, comment; it has stop_id, Name, fee, "
        "where stop_id, name, address, note, fee, comment are wanted"),
    "a column twice": (HEADER.replace(b"note", b"note,note"), "duplicate_column",
        "the header has note more than once; keep one of them"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_file_of_the_source_is_refused_in_words(tmp_path, made, code, words):
    path = tmp_path / "stops.csv"
    path.write_bytes(made) if isinstance(made, bytes) else made(path)

    with pytest.raises(SourceError) as refusal:
        Reader(path, STOPS.layout)

    assert refusal.value.code == code
    assert words in str(refusal.value)


def test_a_message_on_a_header_shows_what_is_invisible_and_no_more_than_twenty_names(tmp_path):
    path = write(tmp_path, "\u202e,".encode() * 30 + b"\n")

    with pytest.raises(SourceError, match=r"it has \\u202e, .* and 11 more, where stop_id"):
        Reader(path, STOPS.layout)


# Damage.


@pytest.mark.parametrize(
    ("columns", "damaged", "key"),
    [
        ("012345", b'7,A"nn,a,n,4.5,\n', "7"),
        ("012345", b"7,Ann\n", "7"),
        ("012345", b"7,A\xffnn,a,n,4.5,\n", "7"),
        ("012345", b'7",Ann,a,n,4.5,\n', None),
        ("012345", b'7"7,Ann,a,n,4.5,\n', None),
        ("120345", b'Ann,"a"b,7,n,4.5,\n', None),
        ("120345", b'Ann,a,7,n"n,4.5,\n', "7"),
    ],
    ids=["behind", "too few", "no UTF-8", "in it", "within it", "before it", "behind it, third column"],
)
def test_a_malformed_record_keeps_its_key_if_that_comes_before_the_fault(tmp_path, columns, damaged, key):
    path = write(tmp_path, in_form([], columns=columns), damaged)

    assert read(path)[0].key == key


def test_a_malformed_record_without_a_visible_end_ends_after_a_while(tmp_path):
    path = write(tmp_path, HEADER, b'1,"a\n', *[b"no record\n"] * 1_000, stop(2))

    seen = read(path)

    assert [record.codes for record in seen[:2]] == [["unclosed_quote"], ["too_few_fields"]]
    assert seen[-1].fields == ["2", "Ann", "12, High St", "x", "4.5", ""]


@pytest.mark.parametrize(("size", "records"), [(1, 5_000), (1_000, 20_000)])
def test_the_work_grows_with_the_records_when_one_in_a_hundred_leaves_a_quote_open(tmp_path, size, records):
    few, many = (
        write(
            tmp_path / str(n),
            HEADER,
            *(b'%d,"Ann,,,,\n' % k if k % 100 == 50 else b"%d,Bob,,,,\n" % k for k in range(n)),
        )
        for n in (records // 10, records)
    )

    assert calls_of(many, size) < 12 * calls_of(few, size)


def calls_of(path: Path, size: int) -> int:
    """How many functions are called to read a file: a measure of time that is the same everywhere."""
    calls = count()
    sys.setprofile(lambda *_: next(calls) and None)
    try:
        with Reader(path, STOPS.layout) as reader:
            chunks = list(chunks_of(reader, size))
    finally:
        sys.setprofile(None)
    assert sum(len(chunk.damaged) for chunk in chunks) == chunks[-1].end.record // 100
    return next(calls)


@pytest.mark.parametrize("columns", ["012345", "5-10342"])
def test_kept_records_are_read_again_as_they_were(tmp_path, columns):
    data = in_form(ROWS, columns=columns)
    path = write(tmp_path, data, b'7,A"nn,a,n,4.5,\n')
    with Reader(path, STOPS.layout) as reader:
        chunk = next(chunks_of(reader, 1_000))
        again = reread(((record.place.record, record.raw, reader.header) for record in seen_in(chunk)), STOPS.layout)

    assert (again.rows, again.records, again.damaged) == (chunk.rows, chunk.records, chunk.damaged)


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a separator fewer": (lambda raw: raw.replace(b",4.5", b"4.5"), "too_few_fields"),
    "a separator more": (lambda raw: raw.replace(b",4.5", b",,4.5"), "too_many_fields"),
    "a stray quote": (lambda raw: raw.replace(b"Ann", b'A"nn'), "stray_quote"),
    "text behind a quote": (lambda raw: raw.replace(b'St"', b'St"x'), "stray_quote"),
    "no opening quote": (lambda raw: raw.replace(b',"', b",", 1), "stray_quote"),
    "no closing quote": (lambda raw: raw.replace(b'St"', b"St"), "unclosed_quote"),
    "a bare carriage return": (lambda raw: raw.replace(b"Ann", b"A\rnn"), "bare_carriage_return"),
    "cut off": (lambda raw: raw[: raw.index(b",4.5")] + b"\n", "too_few_fields"),
    "cut off in quotes": (lambda raw: raw[: raw.index(b" High")] + b"\n", "unclosed_quote"),
    "a NUL byte": (lambda raw: raw.replace(b"Ann", b"A\0nn"), "nul_byte"),
    "no UTF-8": (lambda raw: raw.replace(b"Ann", b"A\xffnn"), "invalid_utf8"),
}
SHAPES = {
    "one line": "12, High St",
    "lines": "Flat 2\nYard, rear\n12 High St",
    "doubled quotes": 'The ""Inn"", High St',
}


AMBIGUOUS = {
    ("no closing quote", "no opening quote"),
    ("cut off in quotes", "no opening quote"),
    ("cut off in quotes", "cut off"),
}


def expected(parts: list[bytes], codes: dict[int, str], top: bytes = HEADER) -> list[tuple[Place, bytes, list[str]]]:
    """Places, bytes and codes of the records made of *parts*, below the header."""
    found = []
    for n, raw in enumerate(parts):
        before = top + b"".join(parts[:n])
        lines = before.count(b"\n"), (before + raw).count(b"\n")
        place = Place(n + 1, lines[0] + 1, lines[1], len(before), len(before + raw))
        found.append((place, raw, [codes[n]] if n in codes else []))
    return found


@pytest.mark.parametrize(
    "shapes", [("one line", "lines"), ("lines", "lines"), ("doubled quotes", "one line")], ids=" · ".join
)
@pytest.mark.parametrize("kinds", sorted({*product(DAMAGE, DAMAGE)} - AMBIGUOUS), ids=" · ".join)
def test_two_malformed_neighbours_are_two_rejects_in_their_places(tmp_path, kinds, shapes):
    """Three pairs stand where the file and chunks of two and three records begin, meet and end.

    Ambiguous, hence left out: no closing quote, then no opening one, is one field by the grammar (`test_scan`);
    behind a text cut off in quotes, a line that is cut off as well could be the rest of that text.
    """
    parts = [stop(n, address=SHAPES[shapes[n % 2]]) for n in range(12)]
    codes = {}
    for at in (0, 5, 10):
        for n, (damage, code) in zip((at, at + 1), (DAMAGE[kind] for kind in kinds), strict=True):
            parts[n], codes[n] = damage(parts[n]), code
    path = write(tmp_path, HEADER, *parts)

    for size in (1, 2, 3, 1_000):
        assert [(s.place, s.raw, s.codes) for s in read(path, size)] == expected(parts, codes)
