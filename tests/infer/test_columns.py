import tracemalloc
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

import pytest

from foundation.errors import SourceError
from foundation.infer.columns import WORDS, ColumnScan, scan_columns


def scan(folder: Path, *lines: object) -> AbstractContextManager[ColumnScan]:
    path = folder / "things.csv"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
    return scan_columns(path)


def test_different_values_are_counted_exactly_beyond_what_is_kept(tmp_path):
    with scan(tmp_path, "n,word", *(f"{n},w{n % 3_000}" for n in range(5_000)), "17,") as it:
        number, word = it.column(0), it.column(1)

    assert (number.distinct, number.filled, number.records) == (5_000, 5_001, 5_001)
    assert (word.distinct, word.filled, word.empty, len(word.words)) == (3_000, 5_000, 1, WORDS)
    assert word.words[0] == ("w0", 2)


def test_a_type_fits_only_if_every_value_does(tmp_path):
    with scan(tmp_path, "a,b", *(f"{n},{n}" for n in range(3_000)), "2.5,x") as it:
        a, b = it.column(0), it.column(1)

    assert a.fitting() is not None
    assert (a.fitting().kind, a.fitting().min, a.fitting().max) == (float, 0.0, 2999.0)
    assert b.fitting() is None
    assert (b.plain[0].misfits, b.plain[0].samples) == (1, ["x"])


def test_values_are_counted_with_the_records_that_have_them(tmp_path):
    with scan(tmp_path, "code", *["007"] * 5, *["8"] * 3, '"  "', '"a\nb"') as it:
        facts = it.column(0)

    assert (facts.zeros, facts.blank, facts.has_lines, facts.longest) == (5, 1, True, 3)
    assert facts.plain[0].misfits == 2


def test_a_format_is_found_even_if_the_first_values_are_none_of_it(tmp_path):
    with scan(tmp_path, "at", *(f"{n % 12 + 1}/{n % 28 + 1}/2025" for n in range(3_000))) as it:
        facts = it.column(0)

    assert [r.format.pattern for r in facts.formatted] == ["%m/%d/%Y"] * 2
    assert facts.formatted[1].kind is datetime


def test_two_columns_are_a_key_if_no_pair_of_values_comes_twice(tmp_path):
    with scan(tmp_path, "a,b,c", *(f"{n % 5},{n // 5},{n % 4}" for n in range(25))) as it:
        columns = [it.column(at) for at in range(3)]
        assert [facts.header for facts in it.pair(columns)] == ["a", "b"]
        assert it.pair(columns[1:]) is None


def test_values_that_are_no_keys_are_counted(tmp_path):
    with scan(tmp_path, "a", "1", "2", '""', "9", "9") as it:
        assert it.missing_from([("1",), ("2",)], 0) == (2, "9")
        assert it.missing_from(iter([("1",), ("2",), ("9",)]), 0) == (0, "")


def test_a_file_without_a_sound_record_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no record that can be read"), scan(tmp_path, "a,b", "1", "2,3,4"):
        pass


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for count in (20_000, 80_000):
        path = tmp_path / f"{count}.csv"
        with path.open("w") as file:
            file.write("id,word\n")
            file.writelines(f"{n},word {n * 7919 % count}\n" for n in range(count))
        tracemalloc.start()
        with scan_columns(path) as it:
            assert it.column(1).distinct == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 1.2
