"""A second process that reads and judges: the same content and rejects, and no trace of it when something ends."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

import foundation
from foundation import FoundationError, Record, load_sources
from foundation.delivery.sample import write_sample
from tests.support.deliveries import write_delivery
from tests.support.inspection import snapshot
from tests.support.loading import tuned
from tests.support.processes import in_child, kill_at

ALWAYS = {"worker_bytes": 0, "running_worker_bytes": 0, "worker_wait_s": 10}
ingest = tuned(**ALWAYS)  # a worker for every file, however small


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delivery")
    write_sample(folder, orders=200, faults=0.05, seed=2)
    return folder


@pytest.fixture(scope="module")
def alone(delivery: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process makes of it."""
    db = tmp_path_factory.mktemp("alone") / "test.db"
    ingest(delivery, db, workers=1)
    return snapshot(db)


def workers(among: Iterable[psutil.Process] = ()) -> list[psutil.Process]:
    found = []
    for process in among or psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # or a zombie
            found += [process] if "foundation.pipeline.worker" in " ".join(process.cmdline()) else []
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [1, 7, 1_000])
def test_two_processes_give_what_one_gives(delivery, alone, db, chunk_size):
    seen = set()
    run = ingest(
        delivery, db, chunk_size=chunk_size, workers=2,
        progress=lambda load, done, size: seen.update(worker.pid for worker in workers()),
    )  # fmt: skip

    assert len(seen) == 1
    assert snapshot(db) == alone
    assert run.status == "complete"
    assert workers() == []


def test_a_small_file_is_read_by_the_one_process(delivery, db):
    seen: list[psutil.Process] = []

    tuned(worker_wait_s=10)(delivery, db, progress=lambda load, done, size: seen.extend(workers()))

    assert seen == []


@pytest.mark.parametrize(("cost", "beside"), [(1, 0), (10_000, 1)])
def test_a_worker_takes_over_where_many_records_are_rejected(delivery, alone, db, cost, beside):
    seen = set()

    tuned(**ALWAYS | {"worker_bytes": 2**20, "reject_cost": cost})(
        delivery, db, chunk_size=10,
        progress=lambda load, done, size: seen.update(worker.pid for worker in workers()),
    )  # fmt: skip

    assert len(seen) == beside
    assert snapshot(db) == alone


@pytest.mark.slow
def test_a_load_that_is_stopped_after_every_chunk_goes_on(delivery, alone, db):
    for _ in range(200):
        steps = count(1)
        if ingest(delivery, db, chunk_size=50, is_stopped=lambda: next(steps) > 1).status == "complete":
            break

    assert snapshot(db) == alone
    assert workers() == []


@pytest.mark.parametrize("home", ["no_such_module:Odd", "foundation.delivery.sources:Odd"])
def test_a_declaration_that_another_process_does_not_find_is_told(delivery, db, home):
    sources = [replace(source, home=home) for source in foundation.SOURCES]

    with pytest.raises(FoundationError, match=rf"{home}: clients is declared otherwise by now; .* --workers 1"):
        ingest(delivery, db, sources=sources)


@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 2, 9, 20])
def test_a_load_that_is_killed_goes_on_and_its_worker_ends(delivery, alone, db, call):
    def load() -> None:
        kill_at("save_chunk", call)
        ingest(delivery, db, chunk_size=50)

    before = {process.pid for process in psutil.process_iter()}
    assert in_child(load) == -signal.SIGKILL
    _, left = psutil.wait_procs(workers(p for p in psutil.process_iter() if p.pid not in before), timeout=10)

    assert left == []
    ingest(delivery, db, chunk_size=50)
    assert snapshot(db) == alone


def test_a_worker_that_is_killed_is_told_and_the_load_goes_on(delivery, alone, db):
    def kill(load: Any, done: int, size: int) -> None:
        for worker in workers():
            os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(FoundationError, match=r"\.csv: the process that reads it has ended, perhaps for want of"):
        ingest(delivery, db, chunk_size=1, progress=kill)

    ingest(delivery, db)
    assert snapshot(db) == alone


def test_an_error_of_the_worker_is_raised_where_it_is_waited_for(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=["1,short\n", {}, {}])
    file = data / "clients.csv"

    def spoil(load: Any, done: int, size: int) -> None:
        """Change what was read before a worker takes over, which it does as soon as a record was rejected."""
        assert workers() == []
        file.write_bytes(file.read_bytes().replace(b"1,short", b"1,other"))

    with pytest.raises(FoundationError, match=r"clients.csv: it has changed since the load began"):
        tuned(**ALWAYS | {"worker_bytes": 2**20, "reject_cost": 10**6})(data, db, chunk_size=1, progress=spoil)


def test_what_a_file_of_sources_prints_is_printed_once(tmp_path, db, capfd):
    file = tmp_path / "mine.py"
    file.write_text(
        "from foundation import Record\nprint('hello')\n"
        "class Odd(Record, table='odd', key='odd_id'):\n    odd_id: int\n",
        encoding="utf-8",
    )
    (tmp_path / "odd.csv").write_text("odd_id\n1\n", encoding="utf-8")

    assert ingest(tmp_path, db, sources=load_sources(file)).status == "complete"
    assert capfd.readouterr().out == "hello\n"


def test_sources_of_a_file_are_read_beside_and_those_of_a_notebook_are_not(tmp_path, db):
    class Here(Record, table="odd", key="odd_id"):
        odd_id: int

    file = tmp_path / "mine.py"
    file.write_text(
        "from foundation import Record\nclass Odd(Record, table='odd', key='odd_id'):\n    odd_id: int\n",
        encoding="utf-8",
    )
    (tmp_path / "odd.csv").write_text("odd_id\n1\n7\nx\n", encoding="utf-8")
    for sources, beside in (load_sources(file), 1), ([Here.__source__], 0):
        seen: list[psutil.Process] = []
        (load,) = ingest(
            tmp_path, db, sources=sources, again=True, progress=lambda load, done, size: seen.extend(workers())
        ).loads

        assert (load.read, load.rejected, len(seen)) == (3, 1, beside)


def test_a_declaration_that_another_process_reads_otherwise_is_told(tmp_path, db):
    text = "from foundation import Record\nclass Odd(Record, table='odd', key='odd_id'):\n    odd_id: int\n"
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    sources = load_sources(file)
    file.write_text(text + "    more: str | None = None\n", encoding="utf-8")
    (tmp_path / "odd.csv").write_text("odd_id\n1\n", encoding="utf-8")

    with pytest.raises(FoundationError, match="odd is declared otherwise by now"):
        ingest(tmp_path, db, sources=sources)


def test_the_budget_counts_the_worker(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=[{}])
    peaks = []
    for number in (1, 2):
        (load, *_) = ingest(data, db, workers=number, only=["clients"], again=True).loads
        peaks.append(load.peak_rss_bytes)

    assert peaks[1] > peaks[0] + 10_000_000
