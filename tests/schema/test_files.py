"""Which files of a folder hold a source."""

from pathlib import Path

import pytest

from foundation.schema.files import left_out_warnings, paths_of
from foundation.schema.record import Record


class Sale(Record, table="sales", key="sale_id", files="sales/*.csv"):
    """One sale."""

    sale_id: int


class Refund(Record, table="refunds", key="refund_id"):
    """One refund."""

    refund_id: int


class Visit(Record, table="visits", key="visit_id", files="**/2025*.csv"):
    """One visit."""

    visit_id: int


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sales").mkdir()
    for name in ("2025-02.csv", "2025-01.csv", "2025-02.csv.gz", "2025-03.csv.zst", "2024.txt"):
        (tmp_path / "sales" / name).touch()
    return tmp_path


@pytest.mark.parametrize("record", [Sale, Visit])
def test_the_files_of_a_source_are_sorted_and_a_packed_one_beside_its_plain_one_is_left_out(folder, record):
    paths = paths_of(record.__source__, folder)

    assert [path.name for path in paths] == ["2025-01.csv", "2025-02.csv", "2025-03.csv.zst"]
    assert [left_out_warnings(path) for path in paths] == [
        [],
        ["2025-02.csv.gz is there, too, and left out: keep one of them"],
        [],
    ]


def test_where_a_source_has_no_file_the_missing_one_is_named(folder):
    assert paths_of(Refund.__source__, folder) == [folder / "refunds.csv"]
