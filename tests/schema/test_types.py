"""Each type of a column: its names are those that the libraries know, its pattern is how a file writes it."""

import re
import sqlite3
from datetime import date, datetime

import pytest

from foundation.schema.types import COLUMN_TYPES, STORED_TYPES

WRITTEN = {
    int: (["0", "-12"], ["1.0", "+1", "1e3", ""]),
    float: (["0", "-1.50", "1e-3"], [".5", "1.", "nan", "1,5"]),
    datetime: (["2024-02-29 23:59:59"], ["2025-02-29 00:00:00", "2025-01-30 24:00:00", "2025-01-30"]),
    date: (["2024-02-29", "2000-02-29"], ["2100-02-29", "2025-04-31", "0000-01-01", "2025-1-1"]),
}


@pytest.mark.parametrize("column_type", COLUMN_TYPES.values(), ids=lambda column_type: column_type.python.__name__)
def test_every_library_knows_its_name_of_a_type(column_type):
    duckdb, pandas, pyarrow = (pytest.importorskip(name) for name in ("duckdb", "pandas", "pyarrow"))

    sqlite3.connect(":memory:").execute(f"CREATE TABLE t (c {column_type.sqlite}) STRICT")
    duckdb.sql(f"SELECT CAST(NULL AS {column_type.duckdb})").fetchall()
    stored = pyarrow.array([None], pyarrow.type_for_alias(column_type.arrow))

    assert stored.cast(pyarrow.type_for_alias(column_type.exported)).null_count == 1
    assert str(pandas.Series([None], dtype=column_type.pandas).dtype) == column_type.pandas


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.__name__)
def test_the_pattern_of_a_type_is_how_a_file_writes_it(kind):
    matching, others = WRITTEN[kind]
    pattern = re.compile(COLUMN_TYPES[kind].pattern)

    assert [text for text in [*matching, *others] if pattern.fullmatch(text)] == matching


def test_what_is_no_time_is_stored_under_a_name_of_its_own():
    assert {name: stored.python for name, stored in STORED_TYPES.items()} == {
        "INTEGER": int,
        "REAL": float,
        "TEXT": str,
    }
