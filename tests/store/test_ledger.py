import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foundation import SOURCES, Load, StoreError
from foundation.reader.reader import Chunk, Damaged, Place, Position
from foundation.reader.recovery import Error
from foundation.schema.diagnosis import diagnose
from foundation.store import ledger
from foundation.store.counts import count_rows, save_counts
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
    save_chunk,
    save_load,
)
from foundation.store.rejects import failed_columns, save_errors, save_rejects, set_status, undecoded, waive_superseded
from tests.support.deliveries import SOUND

CLIENTS = SOURCES[0]
HALFWAY = Position(record=3, line=5, byte=70)


@pytest.fixture
def store(db: Path) -> Iterator[Store]:
    """A database with one source, inside a transaction of a run."""
    with Store(db) as store:
        store.prepare(CLIENTS)
        begin_run(store, "run", {})
        with store.transaction():
            yield store


def enter(store: Store, path: str = "clients.csv", **values: Any) -> Load:
    load = Load("clients", path, 100, "f", "run", **values)
    save_load(store, load)
    return load


def enter_chunk(store: Store, load: Load, end: Position, digest: str = "") -> None:
    chunk = Chunk(Position(0, 1, 10), end, digest=digest)
    save_chunk(store, load, chunk, records=end.record, seconds=0.5, rss_bytes=7)


def enter_reject(store: Store, load: Load, *errors: Error, record: int = 1, key: str | None = None) -> None:
    place = Place(record, 2, 3, 20, 30)
    save_rejects(store, CLIENTS, load, [(Damaged(record, list(errors), key), place, b"raw")])


def enter_client(store: Store, load: Load, key: int, **values: object) -> None:
    row = [*(SOUND["clients"] | {"client_id": key} | values).values(), load.load_id, key]
    store.execute(f"INSERT INTO clients VALUES ({', '.join('?' * len(row))})", row)


def check(store: Store, load: Load) -> None:
    save_counts(store, CLIENTS, load, count_rows(store.connection, CLIENTS, load))


def missing(column: str) -> Error:
    return Error("schema", "missing", column, "", "Field required")


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

    columns = failed_columns(store, load)
    sentences = diagnose(columns, undecoded(store, load), load.read, "utf-8")

    assert columns == [("created_at", failed, "1/1")]
    assert [sentence.split(" records")[0] for sentence in sentences] == [f"created_at: {failed} of 10"][:told]


@pytest.mark.parametrize(
    ("damage", "figures"),
    [
        ("UPDATE _loads SET status = 'complete'", None),
        ("DELETE FROM clients WHERE client_id = 2", "3 read, 1 stored, 1 rejected"),
        ("DELETE FROM _rejects", "3 read, 2 stored, 0 rejected"),
        ("UPDATE _chunks SET records = 4", "4 read, 2 stored, 1 rejected"),
        ("UPDATE clients SET _load = 2", "3 read, 0 stored, 1 rejected"),
    ],
    ids=["nothing", "a row is lost", "a reject is lost", "read more", "rows of another load"],
)
def test_what_does_not_add_up_is_told_with_its_figures(store, damage, figures):
    load, _ = enter(store, read=3, inserted=2, rejected=1), enter(store)
    enter_client(store, load, 1)
    enter_client(store, load, 2)
    enter_reject(store, load, record=3)
    enter_chunk(store, load, HALFWAY)
    store.execute(damage)

    if figures:
        with pytest.raises(StoreError, match=rf"clients\.csv: records do not add up: {figures}, counted \(3, 2, 1\)"):
            check(store, load)
    else:
        check(store, load)


@pytest.mark.parametrize("name", ["read", "inserted", "rejected"])
def test_a_wrong_count_is_told(store, name):
    load = enter(store, **{name: 1})

    with pytest.raises(StoreError, match="records do not add up: 0 read, 0 stored, 0 rejected"):
        check(store, load)


def test_a_check_counts_the_rows_of_its_load_that_break_it(store):
    old, load = enter(store), enter(store, read=2, inserted=2)
    enter_client(store, old, 1, pincode="1")
    enter_client(store, load, 2, pincode="11001", gst_number="?")
    enter_client(store, load, 3, pincode="11001x")
    enter_chunk(store, load, Position(2, 3, 40))

    check(store, load)

    assert store.execute("SELECT * FROM _stats WHERE kind = 'check' ORDER BY name").fetchall() == [
        (2, "clients", "check", "contact_email_has_an_at", 0),
        (2, "clients", "check", "contact_phone_is_complete", 0),
        (2, "clients", "check", "gst_number_has_15_characters", 1),
        (2, "clients", "check", "pincode_has_six_digits", 2),
    ]


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


@pytest.mark.parametrize(
    "ask",
    [
        failed_columns,
        undecoded,
        lambda store, load: is_settled(store, load, HALFWAY),
    ],
)
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
