"""What is cut off in the middle, worker, client or scheduler, is told in words and has lost nothing."""

import json
import os
import signal
import time
from functools import partial

import pytest

import foundation
from tests.support.cluster import Killed, require_same, start

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from distributed import Event

from foundation.lake import load as lake_load
from foundation.store.lock import write_lock

ingest = partial(lake_load.ingest, sources=foundation.SOURCES)


def test_a_killed_worker_costs_its_tasks_only(client, undisturbed, out):
    data, db = undisturbed
    pids = set(client.run(os.getpid).values())
    killed = Killed(out, min(pids))

    ingest(data, out, client=client, range_size=2_000)

    killed.join(5)
    client.wait_for_workers(2, timeout=30)
    assert set(client.run(os.getpid).values()) != pids
    require_same(out, db)


def test_a_killed_client_has_lost_nothing(client, undisturbed, out):
    data, db = undisturbed
    address = client.scheduler.address
    with start("foundation", "ingest", data, "--to", out, "--cluster", address, "--range-size", "2000") as loading:
        Killed(out, loading.pid, parts=9)
        loading.communicate()
    assert loading.returncode == -signal.SIGKILL

    run = ingest(data, out, client=client, range_size=2_000)

    assert "complete" in {load.status for load in run.loads}
    assert not list(out.rglob("*.tmp"))
    require_same(out, db)


def test_a_killed_scheduler_is_told_of_and_has_lost_nothing(client, undisturbed, out, tmp_path):
    data, db = undisturbed
    place = tmp_path / "scheduler.json"
    scheduler = start("dask", "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", place)
    worker = start("dask", "worker", "--scheduler-file", place, "--no-dashboard", "--no-nanny", "--death-timeout", "20")
    try:
        while not place.exists():
            time.sleep(0.05)
        address = json.loads(place.read_text())["address"]
        loading = start("foundation", "ingest", data, "--to", out, "--cluster", address, "--range-size", "2000")
        Killed(out, scheduler.pid, parts=9)
        told = loading.communicate(timeout=90)[1]
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.communicate()

    assert loading.returncode == 2
    assert "Traceback" not in told
    assert "the scheduler has ended, or can no longer be reached; see to it and run the same command again" in told

    ingest(data, out, client=client, range_size=2_000)

    require_same(out, db)


def test_a_load_that_is_interrupted_says_so_and_goes_on(client, undisturbed, out):
    data, db = undisturbed
    go_on = Event(client=client)
    held = [client.submit(lambda _: go_on.wait(), worker, pure=False) for worker in range(2)]  # all that there are
    with start("foundation", "ingest", data, "--to", out, "--cluster", client.scheduler.address) as loading:
        while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) <= len(held):
            time.sleep(0.05)
        loading.send_signal(signal.SIGINT)
        told = loading.communicate(timeout=60)[1]
    go_on.set()

    assert loading.returncode == 2
    assert "Traceback" not in told
    assert "stopped on request; run the same command again" in told

    ingest(data, out, client=client)

    require_same(out, db)


def test_one_process_loads_into_a_folder_at_a_time(client, data, out):
    with write_lock(out, wait_s=0), pytest.raises(foundation.StoreError, match="is writing to it"):
        ingest(data, out, client=client, wait_s=0)


def test_nobody_at_an_address_is_told_in_words(data, out):
    places = [data, "--to", out, "--cluster", "tcp://127.0.0.1:9"]
    pages = ["--out", out / "pages"]
    asking = [start("foundation", *asked, *places) for asked in (["ingest"], ["report", *pages])]  # ten seconds each
    for told in [one.communicate()[1] for one in asking]:
        assert "tcp://127.0.0.1:9: no Dask scheduler answers there; start one" in told
        assert "Traceback" not in told
    assert [one.returncode for one in asking] == [2, 2]
    assert not (out / "pages").exists()
