"""Files cut into ranges of bytes of any size: what their parts hold is what is read from the start to the end."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import foundation
from foundation.lake.splits import Part, find, open_reader, settle
from foundation.reader.reader import Position, Reader
from foundation.schema.source import Source
from tests.support.effort import effort
from tests.support.fault_score import batches, make_faultless

ROOT = Path(__file__).parents[2]
SOURCES = {source.name: source for source in foundation.SOURCES}
DELIVERY = Path(os.environ.get("FOUNDATION_DELIVERY", ROOT / "data/sample"))  # eight files, perhaps real ones
many = settings(deadline=None, max_examples=effort(200, 1_000, 5_000))


class Pair(foundation.Record, table="pairs", key="a"):
    """Two texts."""

    a: str
    b: str


def parts_of(path: Path, source: Source, size: int) -> tuple[list[Part], int]:
    """The parts of a file, and how often a range had to be gone through again."""
    with Reader(path, source.layout) as reader:
        first, end = reader.at, reader.size
    starts, again = list(range(first.byte, end, size)), []
    stops = [*starts[1:], end][: len(starts)]

    def anew(byte: int, stop: int) -> Part:
        again.append(byte)
        return find(source, str(path), byte, stop, is_border=True)

    found = [
        find(source, str(path), start, stop, is_border=start == first.byte)
        for start, stop in zip(starts, stops, strict=True)
    ]
    return list(settle(first, found, stops, anew)), len(again)


def records(reader: Reader, stop: int, chunk_size: int) -> Iterator[Any]:
    """Every record up to a byte: its number and its fields, or why it is refused, its place and its bytes."""
    while chunk := reader.chunk(chunk_size, stop=stop):
        sound = zip(chunk.records, zip(*chunk.columns, strict=True), strict=True)
        refused = ((one.record, (one.errors, one.key, chunk.locate(one.record))) for one in chunk.damaged)
        yield from sorted([*sound, *refused], key=lambda record: record[0])


def require_same(path: Path, source: Source, sizes: list[int]) -> list[int]:
    """Compare the parts for these sizes of ranges with the whole; how often ranges were gone through again."""
    with Reader(path, source.layout) as reader:
        whole, start, end = list(records(reader, reader.size, 1_000)), reader.at, reader.size
    again = []
    for size in sizes:
        parts, times = parts_of(path, source, size)
        again.append(times)
        found = []
        for part in parts:
            with open_reader(str(path), source) as reader:
                reader.go_to(part.start)
                found += records(reader, part.end.byte, 7)
                assert (reader.at, reader.digest) == (part.end, part.digest)
        assert found == whole
        assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
        assert not parts or (parts[-1].end.byte, parts[-1].end.record) == (end, start.record)
    return again


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_is_the_same_in_ranges_of_any_size(name):
    sizes = [300, 1_009, 4_096, 65_536] if DELIVERY == ROOT / "data/sample" else [7_919, 65_536, 1_000_000]

    again = require_same(DELIVERY / f"{name}.csv", SOURCES[name], sizes)

    assert max(again[1:]) <= 2, "nearly every range begins where a record seems to begin"


@pytest.mark.parametrize("size", [211, 397, 1_500], ids="ranges of {} bytes".format)
def test_files_with_every_fault_are_the_same_in_ranges(tmp_path, size):
    for batch in batches(make_faultless(tmp_path), seed=0):
        for name, file in batch.items():
            path = tmp_path / f"{name}.csv"
            path.write_bytes(file.data)
            require_same(path, SOURCES[name], [size])


TOKENS = [
    b"a",
    b",",
    b'"',
    b'""',
    b"\n",
    b"\r\n",
    b"\r",
    b"1,b\n",
    b'2,"b\n3,c\n"\n',
    b'4,"b""",\n',
    b"\0",
    b"\xff",
    b"\n\n",
]


@pytest.mark.sweep
@many
@given(st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join), st.integers(1, 60))
@example(b'1,"b\n2,c\n3,d\n4,e\n"\n5,f\n', 3)
@example(b'1,"b\n2,c\n3,d\n', 4)
@example(b"\n\n1,b\n\n\n2,c\n\n", 2)
def test_quotes_may_stand_anywhere(tmp_path_factory, body, size):
    path = tmp_path_factory.mktemp("odd") / "pairs.csv"
    path.write_bytes(b"a,b\n" + body)

    require_same(path, Pair.__source__, [size])


def test_a_range_inside_a_text_of_many_lines_is_gone_through_again(tmp_path):
    path = tmp_path / "pairs.csv"
    inside = "".join(f"{n},looks like a record\n" for n in range(200))
    path.write_text(f'a,b\n1,"{inside}"\n2,c\n')

    parts, again = parts_of(path, Pair.__source__, 1_000)

    assert [part.start.record for part in parts] == [0, 1]
    assert parts[-1].end == Position(2, 203, path.stat().st_size)
    assert again == 1, "that in which the text ends; those before it hold no begin of a record"


def test_a_remote_file_is_read_as_a_local_one():
    import fsspec

    fsspec.filesystem("memory").pipe("/remote/pairs.csv", b'a,b\n1,"x\ny"\n2,z\n')

    with open_reader("memory://remote/pairs.csv", Pair.__source__) as reader:
        assert reader.chunk(10).rows == [("1", "x\ny"), ("2", "z")]

    with pytest.raises(foundation.SourceError, match=r"memory://remote/none\.csv: no such file"):
        open_reader("memory://remote/none.csv", Pair.__source__)
