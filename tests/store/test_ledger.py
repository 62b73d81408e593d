"""Runs, loads and chunks in the ledger."""

import re

import pytest

from foundation import StoreError
from foundation.reader.reader import Position
from foundation.reader.recovery import Error
from foundation.store import ledger
from foundation.store.database import Store
from foundation.store.ledger import (
    begin_run,
    checkpoint,
    end_run,
    is_overtaken,
    is_settled,
    last_load,
    loads_of_file,
    new_run_id,
    read_load,
    save_load,
)
from tests.support.entries import CLIENTS, HALFWAY, enter, enter_chunk, enter_reject


def test_a_package_of_which_nothing_can_be_read_is_told(store, monkeypatch):
    def fail(_: str) -> str:
        raise OSError(28, "No space left on device", "METADATA")

    monkeypatch.setattr(ledger, "version", fail)
    ledger.versions.cache_clear()

    with pytest.raises(StoreError, match=r"test\.db: METADATA cannot be read, No space left on device; mend that"):
        begin_run(store, "another", {})


def test_a_run_is_named_for_its_second():
    assert re.fullmatch(r"20\d\d-\d\d-\d\d_\d{6}_[0-9a-f]{4}", new_run_id())


def test_a_run_that_is_opened_again_is_running_again(db):
    with Store(db) as store:
        for status in ("complete", "stopped"):
            begin_run(store, "run", {"first": status == "complete"})
            running = store.execute("SELECT status, finished, options FROM _runs").fetchall()
            end_run(store, "run", status)

        assert running == [("running", None, '{"first": true}')]
        assert store.execute("SELECT status, finished IS NULL FROM _runs").fetchall() == [("stopped", 0)]


def test_a_load_comes_back_as_it_was_saved(store):
    load = enter(store, header=["a,b", 'c"d', "é"], warnings=["one", "two\nlines"], sha256="0" * 64, seconds=0.25)
    load.read, load.updated, load.status = 2, 1, "stopped"

    save_load(store, load)

    assert read_load(store, load.load_id) == load
    assert store.execute("SELECT count(*) FROM _loads").fetchone() == (1,)


def test_a_summary_has_what_the_command_line_tells(store):
    names = "source path sha256 status read inserted updated unchanged rejected warnings seconds peak_rss_bytes"

    assert " ".join(enter(store).summary()) == names


def test_a_load_begins_a_version_of_its_file_unless_it_goes_on_with_one(store):
    first, other = enter(store), enter(store)
    more = enter(store, origin=first.origin)

    assert first.origin == first.load_id
    assert loads_of_file(store, more) == {first.load_id, more.load_id}
    assert loads_of_file(store, other) == {other.load_id}


@pytest.mark.parametrize(
    "passed_over",
    [
        {"status": "refused"},
        {"status": "skipped"},
        {"kind": "release", "status": "complete"},
        {"kind": "repair", "status": "complete"},
        {"path": "other.csv", "status": "complete"},
    ],
    ids=["refused", "skipped", "release", "repair", "another file"],
)
def test_the_last_load_of_a_file_is_the_last_that_read_it(store, passed_over):
    enter(store, status="complete")
    read = enter(store, status="stopped")
    enter(store, **passed_over)

    assert last_load(store, CLIENTS, "clients.csv") == read


def test_a_file_that_was_never_read_has_no_last_load(store):
    assert last_load(store, CLIENTS, "clients.csv") is None


def test_the_checkpoint_is_that_of_the_last_chunk(store):
    load = enter(store)
    nothing = checkpoint(store, load)
    enter_chunk(store, load, Position(2, 4, 50), "first")
    enter_chunk(store, load, HALFWAY, "second")

    assert (nothing, checkpoint(store, load)) == (None, (HALFWAY, "second"))


def test_the_checkpoint_of_a_grown_file_is_that_of_its_first_load_until_it_has_its_own(store):
    load = enter(store)
    enter_chunk(store, load, HALFWAY, "old end")
    enter_chunk(store, enter(store), Position(9, 9, 90), "another version")
    enter_chunk(store, enter(store, origin=load.origin, kind="release"), Position(0, 0, 0), "no place")

    grown = enter(store, origin=load.origin)

    assert checkpoint(store, grown) == (HALFWAY, "old end")


def test_a_chunk_is_entered_with_what_it_took(store):
    load = enter(store, read=3)
    load.rejected = 1

    enter_chunk(store, load, HALFWAY, "digest")

    (chunk,) = store.execute("SELECT * FROM _chunks").fetchall()
    assert chunk == (1, load.load_id, 3, 60, 0.5, 7, *HALFWAY, "digest")
    assert read_load(store, load.load_id).rejected == 1


@pytest.mark.parametrize(
    ("record", "stage", "code", "settled"),
    [
        (3, "parse", "too_few_fields", False),
        (2, "parse", "too_few_fields", True),
        (2, "parse", "unclosed_quote", False),
        (3, "schema", "missing", True),
    ],
    ids=["last record damaged", "earlier record damaged", "open quote", "last record unfit"],
)
def test_a_file_may_be_read_on_when_its_old_records_are_settled(store, record, stage, code, settled):
    load = enter(store)
    enter_reject(store, load, Error(stage, code, None, None, ""), record=record)

    assert is_settled(store, enter(store, origin=load.origin), HALFWAY) is settled
    assert is_settled(store, enter(store), HALFWAY)


def test_a_load_is_overtaken_when_another_file_was_read_since(store):
    before, load, after = enter(store), enter(store), enter(store)
    enter_chunk(store, before, HALFWAY)
    enter_chunk(store, enter(store, origin=load.origin), HALFWAY)
    not_yet = is_overtaken(store, load)
    enter_chunk(store, after, HALFWAY)

    assert (not_yet, is_overtaken(store, load)) == (False, True)
