"""What a load left behind adds up."""

import pytest

from foundation import Load, StoreError
from foundation.reader.reader import Position
from foundation.store.counts import count_rows, save_counts
from foundation.store.database import Store
from tests.support.deliveries import SOUND
from tests.support.entries import CLIENTS, HALFWAY, enter, enter_chunk, enter_reject


def enter_client(store: Store, load: Load, key: int, **values: object) -> None:
    row = [*(SOUND["clients"] | {"client_id": key} | values).values(), load.load_id, key]
    store.execute(f"INSERT INTO clients VALUES ({', '.join('?' * len(row))})", row)


def check(store: Store, load: Load) -> None:
    save_counts(store, CLIENTS, load, count_rows(store.connection, CLIENTS, load), b"")


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
