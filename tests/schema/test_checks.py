"""The SQL of declared checks: what it has means the same in SQLite and DuckDB, what it lacks is refused in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foundation
from foundation.errors import SchemaError
from foundation.schema.checks import parse_check

COLUMNS = {"n": int, "m": int, "x": float, "y": float, "s": str, "t": str, "at": datetime, "until": datetime}
TYPES = {int: ("INTEGER", "BIGINT"), float: ("REAL", "DOUBLE"), str: ("TEXT", "VARCHAR"), datetime: ("TEXT", "VARCHAR")}
TEXTS = ["", "a", "A", "abc", "Äé\u0301", "\U0001f600", "é", " a ", "\u00a0a\u00a0", "a'b", "a\\b", "[a]", "a\nb", "%_",
         "+91 2", "IS", "THIS IS BAD", "1/2", "10", "9", "a.b", "^", "-", "]", "~a&&b|", "{}"]  # fmt: skip
TIMES = ["2025-01-30 08:15:00", "2025-01-30 08:15:01", "2024-02-29 00:00:00", "1999-12-31 23:59:59", None]
ROWS = [
    (n, (n * 7 % 11 - 5) or None, [0.1, 0.5, -2.5, 0.0, None][n % 5], [0.3, 7.0, 0.0][n % 3], text, TEXTS[n * 5 % 26],
     TIMES[n % 5], TIMES[n * 3 % 5])
    for n, text in enumerate([*TEXTS, None], -3)
]  # fmt: skip


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Any]]:
    """The same rows in both engines, and a second table to look into."""
    duckdb = pytest.importorskip("duckdb", reason="the extra `cluster` is not installed")
    from foundation.lake.duckdb import SETTINGS

    with closing(sqlite3.connect(":memory:")) as lite, closing(duckdb.connect()) as duck:
        duck.execute(SETTINGS)
        for at, engine in enumerate((lite, duck)):
            columns = ", ".join(f'"{name}" {TYPES[kind][at]}' for name, kind in COLUMNS.items())
            engine.execute(f"CREATE TABLE things ({columns})")
            engine.executemany("INSERT INTO things VALUES (?, ?, ?, ?, ?, ?, ?, ?)", ROWS)
            engine.execute(f"CREATE TABLE others (n {TYPES[int][at]}, s {TYPES[str][at]})")
            engine.executemany("INSERT INTO others VALUES (?, ?)", [(1, "a"), (1, "b"), (2, None), (3, "A")])
        yield {"sqlite": lite, "duckdb": duck}


def kept(engines: dict[str, Any], check: str) -> list[list[Any]]:
    """What each engine says of each row: true, false, or nothing."""
    parsed = parse_check(check, "things", COLUMNS)
    answers = [
        engine.execute(f"SELECT {parsed.sql(name)} FROM things ORDER BY n").fetchall()
        for name, engine in engines.items()
    ]
    return [[None if value is None else bool(value) for (value,) in answer] for answer in answers]


MEANT_ALIKE = [
    # Whole numbers divide as decimal ones do; what is divided by 0 is missing.
    "7 / 2 = 3.5", "n / 2 = 0.5", "n / m > 0", "n / 0 IS NULL", "x / y >= 1", "n % 3 = 1", "n % m = 0", "n % 0 IS NULL",
    "- n / 2 < 1", "10 - 4 - 3 = 3", "2 + 3 * 4 = 14", "(2 + 3) * 4 = 20", "12 / 2 / 3 = 2", "x * 3 = 0.3",
    "3 * 0.1 = 0.3", "2000000000 + 2000000000 > 0", "n * 1.5 > 3", "abs(m) > 2", "abs(x) = 2.5", "n = 1.0",
    "n > 0.5", "1e1 = 10",
    # Missing values.
    "m IS NULL", "m IS NOT NULL", "x IS 0.5", "x IS NOT 0.5", "s IS t", "s IS NOT t", "m = NULL", "NULL", "NOT m = 1",
    "m IN (1, NULL)", "m NOT IN (1, NULL)", "coalesce(m, n) = n", "nullif(n, 1) IS NULL", "coalesce(x, n, 1) > 0",
    # Order of operators.
    "n = 1 OR n = 2 AND m = 1", "NOT n = 1 AND m = 1", "n = 1 = (m = 1)", "n < 3 = TRUE", "n BETWEEN 1 AND 3 AND m > 0",
    "n NOT BETWEEN 1 AND 3", "at BETWEEN '2025-01-01' AND until", "NOT (n > 1 OR m > 1)", "n IN (1, 2, 3)",
    "s || t = 'aa'", "s || 'x' || t GLOB '*x*'", "length(s || t) + 1 > 3",
    # Texts: literals that look like operators, case, order, characters.
    "s = 'THIS IS BAD'", "s <> '1/2'", "s IN ('IS', 'a''b', 'NOT GLOB')", "s = 'A'", "s < 'a'", "s >= 'é'", "s > t",
    "length(s) = 1", "length(s) = 3", "substr(s, 2, 1) = 'b'", "substr(s, 2) = ''", "substr(s, -1) = 'c'",
    "substr(s, 0, 2) = 'a'", "substr(s, n, 2) = t", "instr(s, 'b') > 0", "instr(s, t) = 1", "instr(s, '') = 1",
    "trim(s) = 'a'", "ltrim(s) = 'a '", "rtrim(s) = ' a'", "ltrim(s, '+') GLOB '[0-9]*'", "trim(s, 'a') = ''",
    # Patterns.
    "s GLOB 'a*'", "s GLOB '?'", "s GLOB '??'", "s GLOB '[^a]'", "s GLOB '[^0-9]*'", "s NOT GLOB '*[^a-c]*'",
    "s GLOB ''",
    "s GLOB 'a\\b'", "s GLOB '[[]a]'", "s GLOB '*[]]*'", "s GLOB '[^]a]'",
    "s GLOB '*''*'", "s GLOB 'a?b'", "s GLOB '{}'",
    "s GLOB '[\\^~|&-]*'", "s GLOB 'a.b'", "s GLOB '%*'", "s GLOB '*é*'",
    "s GLOB '[é]'", "s LIKE '%_@_%'", "s LIKE '_'",
    "s LIKE '%'", "s LIKE '%\\%'", "s NOT LIKE '__'", "s LIKE '1/_'",
    # Times.
    "at >= until", "at >= '2025'", "substr(at, 1, 4) = '2025'", "julianday(at) - julianday(until) > 1",
    "julianday(at) > 2460705.5", "julianday(at) = 2460705.84375", "(julianday(at) - julianday(until)) * 86400 > 1",
    # Cases and other tables.
    "CASE WHEN n > 1 THEN s ELSE t END = 'a'", "CASE s WHEN 'a' THEN n WHEN 'A' THEN m END > 0",
    "CASE WHEN n > 1 THEN m > 1 ELSE FALSE END", "n > 1 AND CASE n WHEN 2 THEN 1.5 ELSE n END >= 1.5",
    "(SELECT s FROM others o WHERE o.n = things.n) = 'a'", "(SELECT s FROM others AS o WHERE o.n = things.n) IS NULL",
    "(SELECT 1 FROM others o WHERE o.s = things.s AND o.n > things.m) IS NOT NULL",
    '"n" > 1 AND things.m > 0 and N < 9',
]  # fmt: skip


@pytest.mark.parametrize("check", MEANT_ALIKE)
def test_a_check_has_one_meaning_in_both_engines(engines, check):
    sqlite, duckdb = kept(engines, check)

    assert sqlite == duckdb


@pytest.mark.parametrize(
    ("check", "counts"),
    [
        ("7 / 2 = 3.5", (27, 0)), ("n / 0 IS NULL", (27, 0)), ("s = 'THIS IS BAD'", (1, 25)), ("s GLOB 'a*'", (6, 20)),
        ("s GLOB '?'", (8, 18)), ("x * 3 = 0.3", (0, 22)), ("trim(s) = 'a'", (2, 24)),
    ],
)  # fmt: skip
def test_what_it_means_is_what_the_rules_say(engines, check, counts):
    for answer in kept(engines, check):
        assert (answer.count(True), answer.count(False)) == counts


NUMBER = st.sampled_from(["n", "m", "x", "y", "0", "2", "0.1", "length(s)", "instr(s, t)", "NULL", "julianday(at)"])
TEXT = st.sampled_from(["s", "t", "at", "'a'", "'IS NOT'", "''", "substr(s, 2)", "trim(s)", "NULL"])


def conditions() -> st.SearchStrategy[str]:
    """Conditions of any depth, without more parentheses than they need."""

    def joined(parts: st.SearchStrategy[str], signs: str) -> st.SearchStrategy[str]:
        return st.builds(" ".join, st.tuples(parts, st.sampled_from(signs.split()), parts))

    numbers = NUMBER | joined(NUMBER, "+ - * /") | joined(NUMBER, "+ - * /").map("({})".format)
    numbers |= joined(numbers, "+ - * /") | numbers.map("- {}".format)
    texts = TEXT | joined(TEXT, "||")
    compared = joined(numbers, "= <> < <= > >= IS") | joined(texts, "= <> < <= > >= IS")
    compared |= st.builds("{} NOT BETWEEN {} AND {}".format, numbers, numbers, numbers)
    compared |= st.builds("CASE WHEN {} THEN {} ELSE {} END > 1".format, compared, numbers, numbers)
    return st.recursive(
        compared,
        lambda inner: joined(inner, "AND OR") | inner.map("NOT {}".format) | inner.map("({})".format),
        max_leaves=4,
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(check=conditions())
def test_any_check_has_one_meaning_in_both_engines(engines, check):
    sqlite, duckdb = kept(engines, check)

    assert sqlite == duckdb


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ("s LIKE 'A%'", "LIKE ignores case in SQLite only: write GLOB, with \\* and \\?, for LIKE 'A%'"),
        ("s LIKE 'é%'", "LIKE ignores case"), ("s LIKE t", "the pattern of LIKE is a text, written there, not t"),
        ("s GLOB t", "the pattern of GLOB is a text"), ("s GLOB '[a'", r"has a \[ without its \]"),
        ("date(at) > '2025-01-01'", r"date\(\) is not the same .*: compare the texts, or take substr"),
        ("strftime('%Y', at) = '2025'", "compare the texts"), ("lower(s) = 'a'", "write GLOB with both cases"),
        ("ifnull(m, 1) = 1", "write coalesce"), ("iif(n > 1, n, m) = 1", "write CASE"),
        ("random() > 0", "there are abs, coalesce"),
        ("EXISTS (SELECT 1 FROM others o WHERE o.n = n)", r"write \(SELECT 1 FROM … WHERE …\) IS NOT NULL"),
        ("s = 5", "= takes values that are alike, not a number and a text"), ("n < '5'", "values that are alike"),
        ("s IN ('a', 1)", "alike"), ("n || s = '1a'", r"\|\| takes a text"), ("s + 1 = 2", r"\+ takes a number"),
        ("x % 2 = 1", "% takes a whole number, and .x. is a number"), ("abs(s) = 1", r"abs\(\) takes a number"),
        ("length(n) = 1", "takes a text"), ("julianday(s) > 1", r"julianday\(\) takes a time"),
        ("coalesce(n, s) = n", "alike"),
        ("CASE WHEN n > 1 THEN s ELSE n END = 'a'", "alike"),
        ("CASE WHEN n THEN 1 ELSE 0 END = 1", "CASE takes a condition"),
        ("n", "a check takes a condition"), ("NOT n", "NOT takes a condition"),
        ("n AND m = 1", "AND takes a condition"),
        ("n = 1 = 1", "alike"), ("- s = 1", "- takes a number"),
        ("substr(s) = 'a'", r"substr\(\) takes 2 to 3 values, not 1"),
        ("amount > 0", "there is no column amount"), ("o.n > 0", "there is no table o"),
        ('"nope" = 1', "there is no column"),
        ("things.nope = 1", "there is no column nope"), ("_record > 1", "there is no column _record"),
        ("n > 1 n", "its end is expected, not n"),
        ("n >", "a value is expected, not its end"), ("", "a value is expected"),
        ("(n > 1", r"\) is expected, not its end"), ("n > 1)", r"its end is expected, not \)"),
        ("n NOT = 1", "its end is expected"),
        ("n > 1; DROP TABLE things", "its end is expected, not ;"), ("n > ?", "a value is expected, not ?"),
        ("s = 'a", "a quote is not closed"), ("s = '", "a quote is not closed"),
        ("n > 1 -- why", "a value is expected|there is no column"), ("n > 1 /* a */", "a value is expected"),
        ("n BETWEEN 1 OR 2", "AND is expected, not OR"),
        ("CASE n END = 1", "WHEN is expected, not END"), ("n IN ()", "a value is expected"),
        ("n IN (SELECT n FROM others)", "a value is expected, not SELECT"),
        ("s COLLATE NOCASE = 'a'", "its end is expected"),
        ("(SELECT n FROM others o) = 1", "WHERE is expected"),
        ("(SELECT count(*) FROM others o WHERE o.n = 1) > 0", "count"),
        ("(SELECT n FROM (others) WHERE n = 1) = 1", "is no table"),
        ("(SELECT n, s FROM others WHERE n = 1) = 1", "FROM is expected"),
        ("CAST(n AS TEXT) = '1'", "cast"), ("s REGEXP 'a'", "its end is expected"),
        ("n & 1 = 1", "its end is expected, not &"),
    ],
)  # fmt: skip
def test_what_may_mean_two_things_is_refused_in_words(check, why):
    with pytest.raises(SchemaError, match=why):
        parse_check(check, "things", COLUMNS)


def test_a_class_with_such_a_check_is_refused_when_it_is_declared():
    with pytest.raises(SchemaError, match=r"Trip: the check is_local: lower\(\) is not the same in SQLite and DuckDB"):

        class Trip(foundation.Record, table="trips", key="trip_id", checks={"is_local": "lower(city) = 'pune'"}):
            """One ride."""

            trip_id: int
            city: str
