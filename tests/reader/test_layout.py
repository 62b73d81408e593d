"""The reader without a schema: a layout says which columns are wanted and which of them are the key."""

from pathlib import Path

import pytest

from foundation.reader.dialect import Dialect, Layout
from foundation.reader.reader import Chunk, Reader, reread

PAIR = Layout(headers=("b", "a"), keys=(1, 0), former=("old b", None))


def read(path: Path, data: str, layout: Layout) -> Chunk:
    path.write_text(data, encoding="utf-8")
    with Reader(path, layout) as reader:
        chunk = reader.chunk(1_000)
    assert chunk
    return chunk


def test_the_wanted_columns_come_in_their_order(tmp_path):
    chunk = read(tmp_path / "x.csv", "a,c,b\n1,2,3\n4,5,6\n", PAIR)

    assert chunk.columns == [["3", "6"], ["1", "4"]]


def test_without_wanted_columns_all_are_read_and_the_first_is_the_key(tmp_path):
    chunk = read(tmp_path / "x.csv", "a;b\n1;2\n3;4;5\n", Layout(dialect=Dialect(";")))

    assert chunk.columns == [["1"], ["2"]]
    assert [malformed.key for malformed in chunk.damaged] == ["3"]


def test_a_malformed_record_has_a_key_of_several_columns_if_all_of_it_can_be_read(tmp_path):
    chunk = read(tmp_path / "x.csv", 'a,b,c\n1,é,2,x\n3,"4"x,5\n', PAIR)

    assert [malformed.key for malformed in chunk.damaged] == ['["1","é"]', None]


def test_kept_records_are_read_by_the_former_names_of_columns():
    kept = [(7, b"1,2\n", ["a", "old b"]), (8, b"3\n", ["a"]), (9, b"4,5,6\n", ["a", "b"])]

    chunk = reread(kept, PAIR)

    assert (chunk.records, chunk.rows) == ([7, 8], [("2", "1"), ("", "3")])
    assert [(malformed.record, malformed.key) for malformed in chunk.damaged] == [(9, '["4","5"]')]


@pytest.mark.parametrize(("integers", "records"), [({"a"}, 2), ((), 3)], ids=["numbers first", "texts first"])
def test_where_records_begin_with_a_number_a_malformed_one_does_too(tmp_path, integers, records):
    layout = Layout(headers=("a", "b"), former=(None, None), integers=frozenset(integers))

    chunk = read(tmp_path / "x.csv", 'a,b\n1,"x\ny,"z\n2,x\n', layout)

    assert chunk.size == records
