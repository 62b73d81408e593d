"""What went wrong with a whole column, in words: one sentence instead of ten thousand rejects."""

import re
from collections.abc import Iterable

from foundation.errors import visible

_HINTS = (
    (
        r"\d{1,2}([/.-])\d{1,2}\1\d{2,4}( \d{1,2}:\d{2}(:\d{2})?)?( ?[APap]\.?[Mm]\.?)?",
        "a spreadsheet's or a local way to write dates; format the column as yyyy-mm-dd hh:mm:ss and export it again, "
        "or declare its Format, such as %d/%m/%Y %H:%M",
    ),
    (r"\d{4}[/.]\d{1,2}[/.]\d{1,2}.*", "dates with other separators; write them as yyyy-mm-dd hh:mm:ss"),
    (r"\d{4}-\d{2}-\d{2}", "dates without a time; add the time, as in 2025-01-30 00:00:00"),
    (r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?([.,]\d+|Z|[+-]\d{2}:?\d{2})+",
     "timestamps with fractions of a second or a time zone; convert them to one zone and cut them to seconds"),
    (r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}", "timestamps without seconds; add them, as in 08:15:00"),
    (r"\d{10}|\d{13}", "Unix times; convert them to yyyy-mm-dd hh:mm:ss"),
    (r"\d{5}(\.\d+)?", "day numbers of a spreadsheet; format the column as yyyy-mm-dd hh:mm:ss and export it again"),
    (r"-?\d{1,3}(,\d{3})+(\.\d+)?", "numbers with commas between thousands; export them without, or declare a Format"),
    (r"-?(\d+|\d{1,3}([.\s]\d{3})+),\d+",
     "numbers with a decimal comma; export them with a decimal point, or declare a Format"),
    (r"-?\d+\.0+", "whole numbers written with a decimal point; export the column as whole numbers"),
    (r"\s+\S.*|\S.*\s+", "values with white space around them; export them without"),
)  # fmt: skip


def diagnose(failed: Iterable[tuple[str, int, str]], undecoded: tuple[int, str], read: int, encoding: str) -> list[str]:
    """What is wrong with most of the *read* records of a file, one sentence each.

    *failed* has for each column how many of its values are not valid, *undecoded* how many records are no text, each
    with a sample. A column is named from nine tenths of the records on, the encoding from one in a hundred.
    """
    alike: dict[str, list[tuple[str, int, str]]] = {}  # columns that fail alike share a sentence
    for column, count, sample in failed:
        if count >= 0.9 * read:
            alike.setdefault(reason(sample) or column, []).append((column, count, sample))
    sentences = [
        explain_column(", ".join(names), max(counts), read, samples[0])
        for names, counts, samples in (zip(*group, strict=True) for group in alike.values())
    ]
    count, sample = undecoded
    if count * 100 >= max(read, 1):
        sentences.append(
            f"{count:,} of {read:,} records are no {encoding} text, such as '{visible(sample, 40)}': export the file "
            "as UTF-8, or declare its encoding, such as encoding='cp1252'"
        )
    return sentences


def explain_column(column: str, failed: int, read: int, sample: str) -> str:
    """Why *failed* of *read* records fail in *column* in the way *sample* does."""
    sentence = f"{column}: {failed:,} of {read:,} records are refused for values like '{visible(sample, 40)}'"
    why = reason(sample)
    return f"{sentence}: {why}" if why else sentence


def reason(sample: str) -> str | None:
    """What is special about a value like this and what to do about it, if it is written in one of the known ways."""
    return next((hint for pattern, hint in _HINTS if re.fullmatch(pattern, sample)), None)
