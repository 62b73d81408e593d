"""The cache: bounded, seen, and never older than the database."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

import foundation
from foundation.query.cache import Cache
from tests.support.deliveries import write_delivery
from tests.support.loading import ingest


@pytest.fixture
def loaded(tmp_path, db):
    ingest(write_delivery(tmp_path / "data", clients=[{}], orders=[{}, {}, {}]), db)
    return db


def cities(database):
    query = database["orders"].select("city")
    return [row[0] for row in query.page().rows], query.frame()["city"].tolist(), query.where(city="Goa").count()


def change(db, city):
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE orders SET city = ? WHERE order_id = 1", [city])
        connection.commit()


def test_the_same_question_is_answered_from_the_cache(loaded):
    with foundation.open(loaded) as database:
        first, again = cities(database), cities(database)

        assert first == again
        assert (database.cache.hits, database.cache.misses) == (3, 3)
        assert "3 hits, 3 misses, 3 answers" in repr(database.cache)


def test_after_a_write_of_this_process_the_answer_is_that_of_the_database(loaded):
    with foundation.open(loaded) as database:
        before = cities(database)
        change(loaded, "Goa")

        after = cities(database)

        assert before[2] == 0
        assert after[0][0] == after[1][0] == "Goa"
        assert after[2] == 1


def test_after_a_write_of_another_process_the_answer_is_that_of_the_database(loaded):
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE orders SET city = 1'); c.commit()"
    with foundation.open(loaded) as database:
        cities(database)
        subprocess.run([sys.executable, "-c", code, loaded], check=True)

        assert cities(database) == (["1"] * 3, ["1"] * 3, 0)


def test_a_write_that_is_rolled_back_changes_no_answer(loaded):
    with foundation.open(loaded) as database, closing(sqlite3.connect(loaded)) as other:
        before = cities(database)
        other.execute("UPDATE orders SET city = 'Goa'")
        during = cities(database)
        other.rollback()

        assert before == during == cities(database)


def test_a_load_is_seen_at_once(loaded, tmp_path):
    with foundation.open(loaded) as database:
        assert database["orders"].count() == 3
        ingest(write_delivery(tmp_path / "more", orders=[{"key": 9}]), loaded)

        assert database["orders"].count() == len(database["orders"].page()) == 4


def test_a_frame_that_its_owner_changes_stays_as_it_was_for_others(loaded):
    with foundation.open(loaded) as database:
        query = database["orders"].select("order_id", "city", "order_date")
        frames = [query.frame(), query.frame()]
        for frame in frames:
            frame.loc[:, "city"] = "spoiled"
            frame["order_id"].array[0] = 77
            del frame["order_date"]

        found = query.frame()

        assert database.cache.hits == 2
        assert found["city"].tolist() == ["Pune"] * 3
        assert found["order_id"].tolist() == [1, 2, 3]
        assert list(found) == ["order_id", "city", "order_date"]


def test_what_differs_in_any_way_is_another_question(loaded):
    with foundation.open(loaded) as database:
        orders = database["orders"]
        for query in (orders, orders.select("order_id"), orders.where(amount=1).order_by("amount"),
                      orders.order_by("-order_id"), database.sql("SELECT ? AS x", [1]),
                      database.sql("SELECT ? AS x", ["1"]), database.sql("SELECT ? AS x", [1.0])):  # fmt: skip
            query.page(2)
            query.page(3)

        assert (database.cache.hits, database.cache.misses) == (0, 14)


def test_the_cache_is_off_with_one_word(loaded):
    with foundation.open(loaded, cache=False) as database:
        assert cities(database) == cities(database)
        assert (database.cache.hits, len(database.cache)) == (0, 0)


def test_what_was_asked_for_least_recently_is_forgotten_first():
    cache = Cache(100)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda key=key: key.upper(), lambda _: 40)

    found = [cache.get(key, lambda: "new", lambda _: 40) for key in ("a", "c", "b")]

    assert found == ["A", "C", "new"]
    assert (cache.bytes, len(cache)) == (80, 2)


def test_what_is_larger_than_the_cache_is_not_held_and_displaces_nothing():
    cache = Cache(100)
    cache.get("small", lambda: 1, lambda _: 100)
    cache.get("large", lambda: 2, lambda _: 101)

    assert cache.get("small", lambda: 3, lambda _: 1) == 1
    assert cache.get("large", lambda: 4, lambda _: 101) == 4
