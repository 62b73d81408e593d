"""What loads have kept of a large table tells the same as its rows, or is marked; here every table is large."""

import signal
from dataclasses import replace
from functools import partial
from itertools import count

import pytest

import foundation
from foundation.cli import main
from foundation.delivery.sample import write_sample
from foundation.pipeline.migrate import migrate
from foundation.stats import overview as stats
from tests.support.deliveries import append, line, write_delivery, write_file
from tests.support.inspection import query
from tests.support.loading import ingest, tuned
from tests.support.processes import in_child, kill_at

ingest_beside = tuned(worker_bytes=0, worker_wait_s=10)  # with a second process, if there may be two


describe = partial(stats.describe, large=0)


@pytest.fixture
def delivery(tmp_path):
    folder = tmp_path / "delivery"
    write_sample(folder, orders=1_500, faults=0.05, seed=2)
    return folder


def described(db, sources=foundation.SOURCES):
    """What is told of each table by what was kept, held against its rows; and whether it is marked."""
    with foundation.open(db, sources=sources) as opened:
        kept, read = describe(opened), describe(opened, exact=True)
    for name, table in kept["tables"].items():
        if "approximate" not in table:
            require_same(table, read["tables"][name])
    for check, wanted in zip(kept.checks, read.checks, strict=True):
        assert len(check.examples) == min(wanted.rows, 3) or check.is_approximate
        assert check.rows == wanted.rows or check.is_approximate, check
    return {name: "approximate" in table for name, table in kept["tables"].items()}


def require_same(table, read):
    assert table["rows"] == read["rows"]
    for name, figures in table["columns"].items():
        wanted, is_estimate = read["columns"][name], "approximate" in figures
        assert figures["distinct"] is not None or wanted["distinct"] > 800  # with those refused more than 1,000
        if is_estimate:
            wanted |= {"frequent": [], "approximate": True}
        assert figures == wanted | {
            "distinct": figures["distinct"] and pytest.approx(wanted["distinct"], rel=0.1 if is_estimate else 0),
            **{key: pytest.approx(wanted[key], rel=1e-9) for key in ("mean", "sd") if wanted.get(key)},
        }, name


@pytest.mark.parametrize("chunk_size", [37, 1_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_kept_figures_are_those_of_the_rows(delivery, db, workers, chunk_size):
    ingest_beside(delivery, db, workers=workers, chunk_size=chunk_size)

    assert set(described(db).values()) == {False}


def test_nothing_is_read_of_a_large_table(delivery, db):
    ingest(delivery, db)
    with foundation.open(db) as opened:
        asked = []
        opened.engine.connection.set_trace_callback(asked.append)
        describe(opened, ["orders"])

    assert any("FROM _loads" in sql for sql in asked)
    assert [sql for sql in asked if 'FROM "orders"' in sql and 'order_id") IN' not in sql] == []


def test_a_file_that_grows_is_told_of_as_a_whole(delivery, db):
    write_sample(delivery, orders=1_500)  # without an open quote that may be closed by what comes
    whole = (delivery / "orders.csv").read_bytes()
    half = whole.index(b"\n750,") + 1
    (delivery / "orders.csv").write_bytes(whole[:half])
    ingest(delivery, db)
    (delivery / "orders.csv").write_bytes(whole)
    run = ingest(delivery, db)

    assert 500 < next(load.read for load in run.loads if load.source == "orders") < 1_000
    assert set(described(db).values()) == {False}


def test_rows_that_were_counted_twice_are_marked_though_they_are_as_many_as_there_are(tmp_path, db):
    for keys, city in (range(1, 11), "Pune"), (range(11, 21), "Pune"), (range(11, 21), "Agra"):
        data = write_delivery(tmp_path / "data")
        write_file(data, "clients", *({"key": key, "city": city} for key in keys))
        ingest(data, db, only=["clients"])

    assert described(db)["clients"]


def test_a_file_loaded_anew_is_told_of_as_it_is_now(delivery, db):
    ingest(delivery, db)
    records = (delivery / "orders.csv").read_bytes()
    (delivery / "orders.csv").write_bytes(records.replace(b",Pending,", b",Failed,"))
    ingest(delivery, db)

    assert not described(db)["orders"]


def test_rows_that_a_smaller_file_has_changed_are_marked(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=[{} for _ in range(20)])
    ingest(data, db)
    write_file(data, "clients", {"city": "Agra"}, {"city": "Agra"}, {"key": 21})
    ingest(data, db)

    with foundation.open(db) as opened:
        told = describe(opened, ["clients"])

    table = told["tables"]["clients"]
    assert (table["rows"], table["approximate"]) == (21, True)
    assert all("approximate" in column for column in table["columns"].values())
    assert all("approximate" in check for check in told["checks"])
    assert table["columns"]["city"]["count"] == 21
    (shown,) = [row[1:8] for row in told.tables["clients"].as_rows() if row[0] == "city"]
    assert shown == ["~21", "~0", "~2", "Agra", "Pune", None, None]


def test_files_that_have_no_key_in_common_are_added_up(tmp_path, db):
    for number in range(3):
        data = write_delivery(tmp_path / "data")
        write_file(data, "clients", *({"key": number * 5 + n} for n in range(1, 6)))
        ingest(data, db, only=["clients"])

    assert not described(db)["clients"]


def stop_and_go(delivery, db, **options):
    for _ in range(500):
        steps = count(1)
        run = ingest_beside(delivery, db, chunk_size=100, is_stopped=lambda: next(steps) > 4, **options)
        if run.status == "complete":
            return
    pytest.fail("the load has come to no end")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_load_that_was_stopped_is_told_of_as_a_whole(delivery, db, workers):
    stop_and_go(delivery, db, workers=workers)

    assert set(described(db).values()) == {False}


def test_a_load_that_was_killed_is_told_of_by_what_is_there_and_after_it_went_on_as_a_whole(delivery, db):
    ingest(delivery, db)

    def load():
        kill_at("save_chunk", 3)
        ingest(delivery, db, chunk_size=20, again=True)

    assert in_child(load) == -signal.SIGKILL
    between = described(db)
    ingest(delivery, db)

    assert [name for name, is_marked in between.items() if is_marked] == ["clients"]
    assert set(described(db).values()) == {False}


def test_a_first_load_that_was_killed_is_read(delivery, db):
    def load():
        kill_at("save_chunk", 1)
        ingest(delivery, db, chunk_size=50)

    in_child(load)

    assert not described(db)["clients"]


def test_what_was_released_and_repaired_is_told_of(tmp_path, db):
    orders = [{}, {"client_id": 2}, {"client_id": 2, "amount": "-1"}, {"amount": "x"}, {"client_id": 3}]
    data = write_delivery(tmp_path / "data", clients=[{}], orders=orders)
    ingest(data, db)
    append(data / "clients.csv", line("clients", 2))
    ingest(data, db)
    assert not described(db)["orders"]

    main(["rejects", "--db", str(db), "--export", str(tmp_path / "out")])
    corrected = tmp_path / "out" / "orders.csv"
    corrected.write_text(corrected.read_text("utf-8").replace(",x,", ",7,").replace(",-1,", ",1,"), "utf-8")
    main(["repair", str(tmp_path / "out"), "--db", str(db)])

    assert query(db, "SELECT kind, inserted FROM _loads WHERE source = 'orders' AND inserted > 0") == [
        ("file", 1), ("release", 1), ("repair", 2),
    ]  # fmt: skip
    assert not described(db)["orders"]


def test_a_check_that_is_declared_otherwise_by_now_is_counted_anew(tmp_path, db):
    sources = {}
    for rule in ("size > 1", "size > 2"):
        file = tmp_path / "mine.py"
        file.write_text(
            "from foundation import Record\n"
            f"class Odd(Record, table='odd', key='odd_id', checks={{'is_large': '{rule}'}}):\n"
            "    odd_id: int\n    size: int\n",
            encoding="utf-8",
        )
        sources[rule] = foundation.load_sources(file)
    (tmp_path / "odd.csv").write_text("odd_id,size\n1,1\n2,2\n3,3\n", encoding="utf-8")
    ingest(tmp_path, db, sources=sources["size > 1"], workers=1)

    for rule, wanted in ("size > 1", [1]), ("size > 2", [1, 2]):
        described(db, sources[rule])
        with foundation.open(db, sources=sources[rule]) as opened:
            told = describe(opened)
        assert told["checks"][0]["rows"] == len(wanted)
        assert told.checks[0].examples == [str(key) for key in wanted]


def test_a_check_that_looks_at_a_table_that_has_changed_is_marked(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=[{}], drivers=[{}], orders=[{}], fleet_logs=[{}])
    ingest(data, db)
    write_file(data, "drivers", {"status": "Inactive"})
    ingest(data, db)

    with foundation.open(db) as opened:
        marked = {check["name"] for check in describe(opened, ["fleet_logs"])["checks"] if "approximate" in check}

    assert marked == {"driver_is_active"}


def test_what_migrate_has_carried_over_is_told_of(delivery, db):
    ingest(delivery, db)
    before = described(db)
    orders = next(source for source in foundation.SOURCES if source.name == "orders")
    columns = tuple(replace(c, required=False) if c.name == "amount" else c for c in orders.columns)
    changed = [replace(source, columns=columns) if source is orders else source for source in foundation.SOURCES]
    moved = migrate(db, changed).moved

    assert [one.source for one in moved] == ["orders"]
    assert described(db, changed) == before


def test_values_of_a_validator_of_ones_own_do_not_stop_a_load(tmp_path, db):
    file = tmp_path / "mine.py"
    file.write_text(
        "from typing import Annotated\nfrom pydantic import AfterValidator\nfrom foundation import Record\n"
        "class Odd(Record, table='odd', key='odd_id'):\n    odd_id: int\n"
        "    size: Annotated[str, AfterValidator(lambda text: int(text) if text < '5' else text)]\n",
        encoding="utf-8",
    )
    (tmp_path / "odd.csv").write_text("odd_id,size\n" + "".join(f"{n},{n}\n" for n in range(1, 2_000)), "utf-8")
    sources = foundation.load_sources(file)

    assert ingest(tmp_path, db, sources=sources).status == "complete"
    assert described(db, sources) == {"odd": False}
