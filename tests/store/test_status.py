"""The words of closed lists: one list in the code, the same in the schema and in the docs."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from foundation.errors import Code, Stage
from foundation.store.status import LoadKind, LoadStatus, RejectStatus, RunStatus, run_status

SCHEMA = files("foundation.store").joinpath("schema.sql").read_text("utf-8")
RULES = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [("_runs", "status", RunStatus), ("_loads", "status", LoadStatus), ("_loads", "kind", LoadKind),
     ("_rejects", "status", RejectStatus)],
)  # fmt: skip
def test_the_schema_names_the_words_of_its_columns(table, column, words):
    (comment,) = re.findall(
        rf"CREATE TABLE {table} \((?:(?!;\n).)*?\n    {column} [^\n]*?-- ([^\n]*)", SCHEMA, re.DOTALL
    )

    assert set(words) <= set(re.findall(r"\w+", comment))


def test_the_docs_name_every_code_in_its_stage():
    rows = dict(re.findall(r"(?m)^\| (\w+) \| (.*`.*) \|$", RULES))
    named = set(re.findall(r"`(\w+)`", " ".join(rows[stage] for stage in Stage)))

    assert set(Code) - named == set()


@pytest.mark.parametrize(
    ("loads", "status"),
    [
        ((), "complete"),
        (("complete", "skipped"), "complete"),
        (("complete", "refused"), "refused"),
        (("refused", "stopped"), "stopped"),
    ],
)
def test_the_gravest_status_of_its_loads_is_that_of_a_run(loads, status):
    assert run_status(loads) == status


def test_a_word_is_shown_as_plain_text():
    assert f"{Stage.PARSE} {Stage.PARSE!r}" == "parse 'parse'"
