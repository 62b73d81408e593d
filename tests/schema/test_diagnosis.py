import pytest

from foundation.schema.diagnosis import explain_column

SPREADSHEET = (
    "a spreadsheet's or a local way to write dates; format the column as yyyy-mm-dd hh:mm:ss and export it again, "
    "or declare its Format, such as %d/%m/%Y %H:%M"
)
DECIMAL_COMMA = "numbers with a decimal comma; export them with a decimal point, or declare a Format"
ZONED = "timestamps with fractions of a second or a time zone; convert them to one zone and cut them to seconds"


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ("3/7/2025 8:48", SPREADSHEET),
        ("03/07/25", SPREADSHEET),
        ("30.01.2025 08:15:00", SPREADSHEET),
        ("30-1-2025", SPREADSHEET),
        ("1/30/2025 8:15 PM", SPREADSHEET),
        ("1/30/2025 8:15:00 a.m.", SPREADSHEET),
        ("2025/01/30 08:15:00", "dates with other separators; write them as yyyy-mm-dd hh:mm:ss"),
        ("2025-01-30", "dates without a time; add the time, as in 2025-01-30 00:00:00"),
        ("2025-01-30 08:15", "timestamps without seconds; add them, as in 08:15:00"),
        ("2025-01-30T08:15:00Z", ZONED),
        ("2025-01-30 08:15:00.123", ZONED),
        ("2025-01-30T08:15:00.123456+05:30", ZONED),
        ("1738224900", "Unix times; convert them to yyyy-mm-dd hh:mm:ss"),
        ("1738224900000", "Unix times; convert them to yyyy-mm-dd hh:mm:ss"),
        ("45687.34375", "day numbers of a spreadsheet; format the column as yyyy-mm-dd hh:mm:ss and export it again"),
        ("1876,15", DECIMAL_COMMA),
        ("-0,5", DECIMAL_COMMA),
        ("1.234.567,89", DECIMAL_COMMA),
        ("1\u202f234,50", DECIMAL_COMMA),
        ("1,234,567.89", "numbers with commas between thousands; export them without, or declare a Format"),
        ("12.0", "whole numbers written with a decimal point; export the column as whole numbers"),
        ("Delivered ", "values with white space around them; export them without"),
        ("\tDelivered", "values with white space around them; export them without"),
    ],
)
def test_a_way_to_write_that_is_known_is_explained(sample, reason):
    told = explain_column("created_at", 9_990, 10_000, sample)

    assert told.startswith("created_at: 9,990 of 10,000 records are refused for values like '")
    assert told.endswith(f"': {reason}")


@pytest.mark.parametrize("sample", ["", "x", "Nowhere", "-5", "2025-02-30 08:15:00", "12 High Street", "12.5", "1,2,3"])
def test_no_reason_is_made_up_for_others(sample):
    assert explain_column("city", 5, 5, sample) == (f"city: 5 of 5 records are refused for values like {sample!r}")


def test_a_value_is_shown_cut_and_with_what_is_invisible_written_out():
    told = explain_column("city", 1, 1, "\x1b[2J\u202e\n" + "x" * 100)

    assert told.isprintable()
    assert len(told) < 140
