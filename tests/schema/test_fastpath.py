"""What a shortcut gives is what pydantic gives, to the type of each value; what it does not know it leaves to it."""

import sys
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import core_schema

from foundation.schema.fastpath import shortcut
from foundation.schema.source import Source
from foundation.schema.validator import _ColumnValidator
from tests.support.records import Every, not_seven

SOURCE: Source = Every.__source__
COLUMNS = {column.name: column for column in SOURCE.columns}
SOUND = {
    "key": ["1", "007", "999999999999999"],
    "whole": ["0", "12"],
    "number": ["0.5", "12", "00.10"],
    "moment": ["2025-01-30 08:15:00", "2024-02-29 23:59:59"],
    "text": [" ", "a\nb"],
    "word": ["Yes", 'it\'s "so", so'],
    "rating": ["1", "5", "3"],
    "amount": ["0", "4998.70"],
    "must_whole": ["5"],
    "must_number": ["5.5"],
    "must_moment": ["2025-01-30 08:15:00"],
    "must_text": ["x", " é"],
    "must_word": ["No", "Yes"],
}
ODD = [
    "", " ", "-1", "+1", "-0", "0", "6", "7", "4", "1_000", "１", "²", " 1", "1e3", "1.", ".5", "1.2.3", "-0.5",
    "nan", "inf", "1,5", ",", "9" * 15, "9" * 16, "1" * 5_000, "0.1234567890123", "0.12345678901234", "yes", "Yes ",
    "a", "\x1c", "\xa0", "2025-01-30T08:15:00", "2025-02-29 00:00:00", "2025-01-30 24:00:00", "0000-01-01 00:00:00",
    "2025-01-30 08:15:60", "2025-01-30 08:15:0Z", "2025-01-30 08:15-01", "20250130T081500.123", "2025-W05-4 08:15:00",
    "2025-01-30 08:15", "२025-01-30 08:15:00", "2024-12-31 23:59:59", "2026-01-01 00:00:00", "2025-01-30", "ab\0",
    "3/7/2025 8:48", "2025-01-30 08:15:00Z", "2025-01-30\n08:15:00",
]  # fmt: skip


def read(column: str, texts: list[str], *, quickly: bool) -> tuple[list[tuple[type, object]], set[int]]:
    validator, misfits = _ColumnValidator(COLUMNS[column]), set[int]()
    if not quickly:
        validator._shortcut = lambda texts: None
    values = validator(texts, misfits)
    return [(type(value), value) for value in values], misfits


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(list(COLUMNS)), st.data())
def test_a_shortcut_gives_what_pydantic_gives(column, data):
    known = st.sampled_from(SOUND.get(column, ODD))
    texts = data.draw(st.lists(st.one_of(known, known, st.sampled_from(ODD), st.text(max_size=3)), min_size=1))

    assert read(column, texts, quickly=True) == read(column, texts, quickly=False)


def test_one_odd_text_among_sound_ones_is_judged_as_pydantic_does():
    differing = []
    for column in COLUMNS:
        for odd in ODD:
            texts = [*SOUND.get(column, []), odd]
            found, wanted = (read(column, texts, quickly=quickly) for quickly in (True, False))
            if found != wanted:
                differing.append(f"{column}, {odd!a}: {found}, not {wanted}")

    assert not differing, "\n".join(differing[:9])


def test_sound_texts_take_the_shortcut():
    assert [name for name, texts in SOUND.items() if shortcut(COLUMNS[name], lambda texts: texts)(texts) is None] == []


@dataclass(frozen=True)
class Seven:
    """A constraint without bounds."""

    def __get_pydantic_core_schema__(self, kind, handler):
        return core_schema.no_info_after_validator_function(not_seven, handler(kind))


def test_a_constraint_that_is_no_bound_has_no_shortcut():
    column = replace(COLUMNS["must_whole"], constraints=(Seven(),))
    misfits = set[int]()

    assert _ColumnValidator(column)(["6", "7", "8"], misfits) == [6, ..., 8]
    assert misfits == {1}


def test_every_character_that_pydantic_takes_for_white_space_is_left_to_it():
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]

    _, misfits = read("must_text", characters, quickly=False)

    assert len(misfits) > 20
    assert all(characters[at].isspace() for at in misfits)
