"""Figures of columns: taken in any chunks and merged in any way they are those of the whole."""

import math
from collections import Counter
from datetime import datetime, timedelta
from statistics import fmean, variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.pipeline.profile import MOST, Figures, Profile

TEXTS = st.one_of(
    st.sampled_from(["a", "b", "ä", "\U0001f600"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3),
)
ROWS = st.lists(
    st.tuples(
        st.just("") | TEXTS, st.just("") | st.integers(-(2**63), 2**63 - 1), st.just("") | st.floats(-1e12, 1e12)
    ),
    max_size=60,
)
COLUMNS = ("text", "whole", "number")


def profile_of(rows, columns=COLUMNS, most=MOST, **kinds):
    taken = Profile({name: Figures(kinds.get(name, "named"), most=most) for name in columns})
    taken.add(rows)
    return taken


@given(st.lists(st.lists(ROWS, max_size=4), max_size=4), st.sampled_from([3, 20, 1_000]))
def test_profiles_of_any_chunks_merged_are_that_of_the_whole(loads, most):
    merged = Profile()
    for chunks in loads:
        taken = profile_of([], most=most)
        for rows in chunks:
            taken.add(rows)
        merged.merge(Profile.unpacked(taken.packed(), most=most))
    rows = [row for chunks in loads for rows in chunks for row in rows]

    assert merged.rows == len(rows)
    for at, figures in enumerate(merged.columns.values()):
        require_naive(figures, [row[at] for row in rows], most)


def require_naive(figures, column, most):
    """What can be counted by looking at all values at once."""
    present = [value for value in column if value != ""]
    least, greatest, total, squares = figures.summary()
    assert (figures.rows, figures.count, figures.missing) == (len(column), len(present), column.count(""))
    assert (least, greatest) == (min(present, default=None), max(present, default=None))
    if len(set(present)) <= most:
        assert figures.values == Counter(present)
    assert figures.distinct() == (len(set(present)), len(set(present)) > most)
    if present and not isinstance(present[0], str):
        size = max(map(abs, present))
        assert total == pytest.approx(sum(present), rel=1e-9, abs=1e-9 * size)
        wanted = variance(map(float, present)) * (len(present) - 1) if len(present) > 1 else 0
        assert squares == pytest.approx(wanted, rel=1e-6, abs=1e-9 * size * size)


@given(ROWS, st.data(), st.sampled_from([3, 1_000]))
def test_rows_taken_out_leave_the_profile_of_the_others(rows, data, most):
    refused = data.draw(st.sets(st.integers(0, max(len(rows) - 1, 0)), max_size=len(rows)))
    left = [row for at, row in enumerate(rows) if at not in refused]
    taken = profile_of(rows, most=most)
    taken.subtract(profile_of([row for at, row in enumerate(rows) if at in refused], most=most))
    wanted = profile_of(left)

    assert taken.rows == len(left)
    for figures, naive in zip(taken.columns.values(), wanted.columns.values(), strict=True):
        assert (figures.rows, figures.missing) == (naive.rows, naive.missing)
        assert figures.values in (None, naive.values)
        assert figures.is_doubtful or figures.summary()[:2] == naive.summary()[:2]
        assert figures.summary()[2] == pytest.approx(naive.summary()[2], rel=1e-9, abs=1e-9 * 2**63)
        assert figures.summary()[3] == pytest.approx(naive.summary()[3], rel=1e-6, abs=1e-9 * (2**63) ** 2)


def test_a_small_spread_around_a_great_mean_is_not_lost():
    values = [1e9 + value / 8 for value in range(5_000)]
    halves = [profile_of([(value,) for value in half], ["n"]) for half in (values[:2_000], values[2_000:])]
    halves[0].merge(halves[1])

    _, _, total, squares = halves[0].columns["n"].summary()

    assert total / 5_000 == pytest.approx(fmean(values), rel=1e-15)
    assert squares / 4_999 == pytest.approx(variance(values), rel=1e-9)


def minutes(number):
    return f"{datetime(2025, 1, 1) + timedelta(minutes=number)}"


KINDS = {
    "keys": lambda n: n,
    "phones in a row": lambda n: f"+91{9_800_000_000 + n}",
    "phones": lambda n: f"{7 * 10**9 + n * 2_654_435_761 % 2_999_999_929}",
    "minutes in a row": minutes,
    "a second of any day": lambda n: f"{datetime(2025, 1, 1) + timedelta(days=n % 365, seconds=n * 7919 % 86400)}",
    "amounts": lambda n: n / 100,
    "e-mail": lambda n: f"user{n}@example.com",
    "addresses": lambda n: f"H.No. {n % 997}, {'Agarwal' if n % 2 else 'Jayaraman'} Street {n // 997}\nBlock",
}


@pytest.mark.slow
@pytest.mark.parametrize("number", [1_500, 20_000, 150_000])
@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_of_different_values_is_within_a_tenth(kind, number):
    values = [KINDS[kind](n) for n in range(number)]
    halves = [profile_of([(v,) for v in half], ["v"]) for half in (values[: number // 2], values[number // 3 :])]
    halves[0].merge(halves[1])

    distinct, is_estimate = halves[0].columns["v"].distinct()

    assert is_estimate
    assert distinct == pytest.approx(len(set(values)), rel=0.1)


def test_the_key_is_counted_and_not_looked_at():
    taken = profile_of([(n, n % 2) for n in range(5_000)], ["key", "other"], key="key")

    assert taken.columns["key"].distinct() == (5_000, False)
    assert taken.columns["key"].hashes is None


@pytest.mark.parametrize(("number", "distinct"), [(1_000, (1_000, False)), (1_001, (None, True))])
def test_measured_values_are_counted_while_they_are_few(number, distinct):
    taken = profile_of([(n / 8,) for n in range(number)], ["m"], m="measured")

    assert Profile.unpacked(taken.packed()).columns["m"].distinct() == distinct


def test_long_texts_are_not_kept():
    taken = profile_of([(f"{n}" * 10_000,) for n in range(100)], ["text"])

    assert taken.columns["text"].distinct() == (100, True)
    assert len(taken.packed()) < 50_000


def test_numbers_too_great_to_be_squared_do_no_harm():
    taken = profile_of([(number * 1e300,) for number in range(-2_000, 2_000)], ["n"])
    kept = Profile.unpacked(taken.packed()).columns["n"]

    assert kept.summary()[:2] == (-2_000 * 1e300, 1_999 * 1e300)
    assert not math.isfinite(kept.summary()[3])


def test_values_that_cannot_be_ordered_leave_no_profile():
    taken = profile_of([(1,), ("a",)], ["odd"])
    taken.add([(n,) for n in range(2_000)])

    assert (Profile.unpacked(taken.packed()).rows, taken.columns) == (0, {})
