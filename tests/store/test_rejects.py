"""Rejected records in the ledger."""

import pytest

from foundation.reader.reader import Damaged, Place
from foundation.reader.recovery import Error
from foundation.schema.diagnosis import diagnose
from foundation.store.ledger import is_settled, read_load
from foundation.store.rejects import failed_columns, save_errors, save_rejects, set_status, waive_superseded
from tests.support.entries import CLIENTS, HALFWAY, enter, enter_reject, missing


def test_a_reject_keeps_its_place_its_bytes_and_its_reasons_in_order(store):
    reasons = [missing("city"), Error("schema", "string_type", "state", "\u202e", "no\ntext")]
    raw = b'1,"\xff\0\r\n'

    save_rejects(store, CLIENTS, enter(store), [(Damaged(4, reasons, "1"), Place(4, 6, 7, 100, 107), raw)])

    kept = store.execute("SELECT * FROM _rejects").fetchall()
    assert kept == [(1, 1, "clients", "clients.csv", 4, 6, 7, 100, 107, raw, "open", "1")]
    assert store.execute("SELECT * FROM _errors").fetchall() == [(1, 1, *reasons[0]), (1, 2, *reasons[1])]


def test_new_reasons_replace_those_a_reject_had(store):
    enter_reject(store, enter(store), missing("city"), missing("state"))

    save_errors(store, 1, [missing("pincode")])

    assert store.execute("SELECT number, column FROM _errors").fetchall() == [(1, "pincode")]


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("7", "7"), ("007", "7"), ("0", "0"), ("000", "0"), ("-07", "-7"), ("9" * 19, "9" * 19), ("7 ", "7 "),
        ("seven", "seven"), ("٧", "٧"), ("7.0", "7.0"), ("0" * 5_000, "0" * 5_000), ("", ""), (None, None),
    ],
)  # fmt: skip
def test_the_key_of_a_reject_is_written_as_its_children_would_write_it(store, key, kept):
    enter_reject(store, enter(store), missing("city"), key=key)

    assert store.execute("SELECT key FROM _rejects").fetchone() == (kept,)


def test_statuses_are_set_for_the_rejects_named_only(store):
    load = enter(store)
    for record in (1, 2, 3):
        enter_reject(store, load, missing("city"), record=record)

    set_status(store, [1, 3], "repaired")

    assert store.execute("SELECT status FROM _rejects").fetchall() == [("repaired",), ("open",), ("repaired",)]


def test_a_new_version_waives_what_is_open_of_the_file_but_not_of_others(store):
    old, other = enter(store), enter(store, "other.csv")
    for load in (old, other, enter(store)):
        enter_reject(store, load, missing("city"))
    set_status(store, [1], "released")
    enter_reject(store, old, missing("city"), record=2)

    waive_superseded(store, read_load(store, 3))

    assert store.execute("SELECT status FROM _rejects").fetchall() == [
        ("released",), ("open",), ("open",), ("waived",),
    ]  # fmt: skip


def test_what_is_known_of_records_stays_open_when_only_the_file_is_judged_again(store):
    enter_reject(store, enter(store), missing("city"))
    refused = enter(store, status="refused")
    save_rejects(
        store, CLIENTS, refused, [(Damaged(0, [Error("file", "not_found", None, None, "")], None), None, None)]
    )

    waive_superseded(store, enter(store), only_files=True)

    assert store.execute("SELECT record, status FROM _rejects").fetchall() == [(1, "open"), (None, "waived")]


@pytest.mark.parametrize(("failed", "told"), [(10, 1), (9, 1), (8, 0)])
def test_a_column_has_failed_when_nine_tenths_of_its_values_have(store, failed, told):
    load = enter(store, read=10)
    for record in range(1, failed + 1):
        enter_reject(store, load, Error("schema", "x", "created_at", f"{record}/1", ""), missing("city"), record=record)

    columns, undecoded = failed_columns(store, load)
    sentences = diagnose(columns, undecoded, load.read, "utf-8")

    assert columns == [("created_at", failed, "1/1")]
    assert [sentence.split(" records")[0] for sentence in sentences] == [f"created_at: {failed} of 10"][:told]


@pytest.mark.parametrize("ask", [failed_columns, lambda store, load: is_settled(store, load, HALFWAY)])
def test_what_is_asked_of_a_load_takes_as_long_whatever_was_refused_before(store, ask):
    kinds = [Error(stage, "invalid_utf8", "city", "x", "no") for stage in ("schema", "parse")]
    other, load = enter(store), enter(store)
    for number in range(1, 500):
        enter_reject(store, other, *kinds, record=number)
    enter_reject(store, load, *kinds)
    steps: list[int] = []
    store.connection.set_progress_handler(lambda: steps.append(1), 1)  # for each step of SQLite's machine

    ask(store, load)

    store.connection.set_progress_handler(None, 1)
    assert 0 < len(steps) < 500
