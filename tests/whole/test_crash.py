"""Exactly once, whatever comes between: a load is disturbed, run again, and gives what an undisturbed one gives.

`make test` takes a few of all system calls and moments, `make soak` many, `make soak FULL=1` all.
"""

import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from foundation.delivery.sample import write_sample
from tests.support.deliveries import append, line
from tests.support.effort import effort
from tests.support.injection import READS, WRITES, Fault, Loader, Outcome
from tests.support.inspection import differences, half_done, query, state, wounds
from tests.support.sweep import Call, Scene, Sweep, Swept, broken_package, copy, failing_at, failing_from, killed_at

pytestmark = [pytest.mark.slow, pytest.mark.sweep]


@pytest.fixture(autouse=True, scope="module")
def strace() -> None:
    if not shutil.which("strace"):
        pytest.fail("strace is missing, faults cannot be injected without it: apt-get install strace")


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Callable[[str, Swept], None]]:
    """Asserts that nothing failed; the figures are shown at the end."""
    figures: list[str] = []

    def count(what: str, swept: Swept) -> None:
        figures.append(
            f"{what}: {swept.trials:,} trials, {swept.disturbed:,} loads disturbed, {len(swept.failures)} failures"
        )
        assert not swept.failures, "\n".join(swept.failures[:9])

    yield count
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("", *figures, sep="\ncrash sweep: ")


@pytest.fixture(scope="module")
def loaders() -> Iterator[list[Loader]]:
    """One more than there are processors, for they wait for the disk."""
    with Loader() as one, Loader() as other, Loader() as third:
        yield [one, other, third]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, loaders: list[Loader]) -> Sweep:
    """A load into a new database, with rejects of every stage."""
    folder = tmp_path_factory.mktemp("first", numbered=False)
    write_sample(folder / "data", orders=40, faults=0.2, seed=5)
    return Sweep(Scene(folder, folder / "data", chunk_size=10), loaders)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, loaders: list[Loader]) -> Sweep:
    """A load into a database that has the files as they were before: without drivers, with one client alone."""
    folder = tmp_path_factory.mktemp("second", numbered=False)
    data, base = folder / "data", folder / "base.db"
    write_sample(data, orders=40, faults=0.2, seed=5)
    drivers, clients = ((data / f"{name}.csv").read_bytes() for name in ("drivers", "clients"))
    (data / "drivers.csv").unlink()
    (data / "clients.csv").write_bytes(b"".join(clients.splitlines(keepends=True)[:3]))  # a record of two lines
    loaders[0].run(["ingest", data, "--db", base])
    (data / "drivers.csv").write_bytes(drivers)
    (data / "clients.csv").write_bytes(clients)
    (data / "warehouse_logs.csv").unlink()
    append(data / "feedback.csv", line("feedback", 101) + line("feedback", 102, rating=9) + line("feedback", 103))
    orders = data / "orders.csv"
    orders.write_bytes(orders.read_bytes().replace(b",Prepaid,", b",COD,"))
    return Sweep(Scene(folder, data, chunk_size=10, base=base), loaders)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, loaders: list[Loader]) -> Sweep:
    """A load as large as the real files."""
    folder = tmp_path_factory.mktemp("large", numbered=False)
    write_sample(folder / "data", orders=10_000, faults=0.02, seed=5)
    return Sweep(Scene(folder, folder / "data", chunk_size=1_000), loaders)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory, loaders: list[Loader]) -> Sweep:
    """A load that takes long enough to do something meanwhile."""
    folder = tmp_path_factory.mktemp("longer", numbered=False)
    write_sample(folder / "data", orders=2_000, faults=0.02, seed=5)
    return Sweep(Scene(folder, folder / "data", chunk_size=100), loaders)


@pytest.fixture(scope="module", params=["first", "second"])
def sweep(request: pytest.FixtureRequest) -> Sweep:
    swept: Sweep = request.getfixturevalue(request.param)
    return swept


def test_the_loads_that_are_disturbed_do_all_that_a_load_can_do(first, second):
    stages = {
        error
        for reject in first.state["rejects"]
        for error in ("decode", "parse", "schema", "key", "relation")
        if f'"{error}"' in reject[-1]
    }
    kinds = {(load[2], load[3]) for load in second.state["loads"]}
    statuses = {reject[-2] for reject in second.state["rejects"]}

    assert stages == {"decode", "parse", "schema", "key", "relation"}
    assert kinds == {("file", "complete"), ("file", "refused"), ("release", "complete")}
    assert statuses == {"open", "released", "waived"}
    assert all(sum(load[at] for load in second.state["loads"]) for at in range(6, 11))
    assert 400 < len(first.calls) < 1_100
    assert sum(call.is_commit for call in first.calls) > 50


# Killed


def test_a_load_killed_at_any_write_gives_what_an_undisturbed_one_gives(sweep, tally):
    swept = sweep.run([[killed_at(call)] for call in around_commits(sweep.calls)])

    tally(f"killed at a write, {sweep.scene.folder.name}", swept)
    assert swept.disturbed == swept.trials


def around_commits(calls: list[Call]) -> list[Call]:
    """Some writes of all, and some where a transaction is done."""
    writes = [call for call in calls if call.name in WRITES]
    commits = [number for number, call in enumerate(writes) if call.is_commit]
    step = effort(80, 3, 1)
    chosen = {*range(0, len(writes), step), *(number + 2 for number in commits[::5]), *commits[::20]}
    return [call for number, call in enumerate(writes) if number in chosen]


def test_a_load_disturbed_at_any_write_and_again_when_it_goes_on_gives_the_same(sweep, tally):
    dice = random.Random(1)  # noqa: S311  # places, not secrets
    writes = [call for call in sweep.calls if call.name in WRITES]

    def trial(number: int, call: Call) -> list[Fault]:
        rest = [later for later in writes[number:] if later.name == "pwrite64"]
        at = dice.randint(1, len(rest) + 20)
        effects = ["signal=SIGKILL", "signal=SIGKILL", "error=EIO", "error=ENOSPC"]
        return [killed_at(call), *(Fault((f"pwrite64:{effect}:when={at}",)) for effect in dice.sample(effects, 2))]

    trials = [trial(number, call) for number, call in enumerate(writes)]
    swept = sweep.run(trials[:: effort(200, 10, 2)])

    tally(f"disturbed again when it goes on, {sweep.scene.folder.name}", swept)


def test_a_large_load_killed_at_any_moment_gives_what_an_undisturbed_one_gives(large, tally):
    dice = random.Random(2)  # noqa: S311  # moments, not secrets
    kills = effort(10, 300, 1_000)

    swept = large.run(
        [[Fault(after_s=dice.uniform(0, large.seconds / 4)) for _ in range(5)] for _ in range(kills // 5)]
    )

    tally("killed at a moment", swept)
    assert swept.disturbed > swept.trials


# Denied the disk


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_write_or_sync_that_fails_is_told_and_the_load_goes_on(sweep, tally, error):
    writes = [call for call in sweep.calls if call.name in WRITES]
    rare = [call for call in writes if call.name != "pwrite64"]
    calls = [*rare[:: effort(6, 2, 1)], *[call for call in writes if call not in rare][:: effort(200, 8, 1)]]
    lasting = [call for call in writes if call.name not in ("openat", "write")]  # other files and messages need these

    once = [[failing_at(call, error)] for call in calls]
    for_good = [[failing_from(call, error, lasting)] for call in calls if call in lasting]
    swept = sweep.run([*once, *for_good])

    tally(f"{error}, {sweep.scene.folder.name}", swept)
    assert swept.disturbed > swept.trials / 2


def test_a_read_that_fails_is_told_and_the_load_goes_on(sweep, tally):
    calls = [call for call in sweep.calls if call.name in READS]

    swept = sweep.run([[failing_at(call, "EIO")] for call in calls[:: effort(20, 4, 1)]])

    tally(f"EIO when it reads, {sweep.scene.folder.name}", swept)


def test_a_file_that_may_not_grow_is_told_and_the_load_goes_on(first, tally):
    largest = (first.scene.folder / "reference.db").stat().st_size
    sizes = range(0, largest + 40_000, effort(120_000, 12_288, 4_096))

    swept = first.run([[Fault(largest=size + odd)] for size in sizes for odd in (0, 100)])

    tally("no larger file is possible", swept)
    assert swept.disturbed > swept.trials / 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run([*MOUNT, "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run([*UNMOUNT, folder], check=True)


MOUNT = ["/usr/bin/env", "mount"]
UNMOUNT = ["/usr/bin/env", "umount", "--lazy"]


@pytest.mark.parametrize("left", range(4_096, 1_000_000, effort(400_000, 100_000, 50_000)))
def test_a_full_disk_is_told_and_the_load_goes_on(first, loaders, disk, left):
    (disk / "other").write_bytes(bytes(2 * 2**20 - left))
    db = disk / "test.db"
    command = first.scene.lay_out(db)

    full = [loaders[0].run(command) for _ in range(2)]
    found = list(wounds(copy(db, first.scene.folder / "seen.db")))
    (disk / "other").unlink()
    again = loaders[0].run(command)

    for outcome in full:
        is_told(outcome, db, "make room and run the same command again|the folder must be there")
    assert found == []
    assert again.status == first.status
    assert list(differences(state(db), first.state)) == []


def is_told(outcome: Outcome, db: Path, words: str) -> None:
    """The load could not be done, and one paragraph that names the file says why."""
    assert outcome.status == 2
    assert re.fullmatch(rf"foundation: {re.escape(str(db))}.*({words}).*\n", outcome.told)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_read_only_disk_is_told_and_the_load_goes_on(first, loaders, disk, what):
    db = disk / "test.db"
    command = first.scene.lay_out(db)

    loaders[0].run(command, killed_at(first.calls[len(first.calls) // 2]))
    with read_only(disk if what == "folder" else db):
        outcome = loaders[0].run(command)
        found = list(wounds(copy(db, first.scene.folder / "seen.db")))
    again = loaders[0].run(command)

    is_told(outcome, db, "must be writable|make the file and its folder writable")
    assert found == []
    assert again.status == first.status
    assert list(differences(state(db), first.state)) == []


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """A folder or a file on a disk that cannot be written."""
    subprocess.run([*MOUNT, "--bind", path, path], check=True)
    try:
        subprocess.run([*MOUNT, "-o", "remount,bind,ro", path], check=True)
        yield
    finally:
        subprocess.run([*UNMOUNT, path], check=True)


# Asked to stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_to_end_lets_the_chunk_at_hand_be_stored_and_the_load_goes_on(longer, number):
    db = longer.scene.folder / "stopped.db"
    command = longer.scene.lay_out(db)

    with started(command) as loading:
        wait_for_chunks(db, 4)
        loading.send_signal(number)
        _, told = loading.communicate(timeout=60)
    stopped = query(db, "SELECT source, read FROM _loads WHERE status = 'stopped'")
    runs = query(db, "SELECT status, finished IS NOT NULL FROM _runs")
    found = list(wounds(copy(db, db.with_suffix(".seen"))))
    with started(command) as again:
        again.communicate(timeout=60)

    ((source, read),) = stopped
    assert f"{source}: stopped on request; run the same command again, it goes on behind record {read:,}\n" in told
    assert "Traceback" not in told
    assert (loading.returncode, runs, found) == (2, [("stopped", 1)], [])
    assert again.returncode == longer.status
    assert list(differences(state(db), longer.state)) == []


def test_a_load_asked_to_stop_at_any_moment_stops_in_order(longer, tally):
    dice = random.Random(3)  # noqa: S311  # moments, not secrets
    asks = [dice.choice([signal.SIGINT, signal.SIGTERM]) for _ in range(effort(4, 50, 200))]

    swept = longer.run([[Fault(signal=ask, after_s=dice.uniform(0, longer.seconds / 4)) for _ in "ab"] for ask in asks])

    tally("asked to stop", swept)
    assert swept.disturbed > swept.trials / 2


@contextmanager
def started(command: list[object]) -> Iterator[subprocess.Popen[str]]:
    """The command line as people start it, with its messages; it does not outlive the test."""
    words = [word for word in map(str, command) if word != "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "foundation", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_chunks(db: Path, chunks: int) -> None:
    for _ in range(3_000):
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
            if connection.execute("SELECT count(*) FROM _chunks").fetchone()[0] >= chunks:
                return
        time.sleep(0.01)
    pytest.fail("the load does not get on")


# Several at once


def test_of_two_loaders_one_waits_for_the_other(longer):
    db = longer.scene.folder / "both.db"
    command = longer.scene.lay_out(db)

    with started(command) as one, started(command) as other:
        told = [one.communicate(timeout=60)[1], other.communicate(timeout=60)[1]]

    assert [one.returncode, other.returncode] == [longer.status] * 2, told
    assert list(differences(state(db), longer.state)) == []
    assert query(db, "SELECT status, count(*) FROM _loads GROUP BY 1") == [("complete", 8), ("skipped", 8)]


def test_two_loaders_that_begin_at_the_same_moment_give_what_one_gives(sweep, loaders):
    db = sweep.scene.folder / "both.db"

    for _ in range(effort(5, 50, 200)):
        with ThreadPoolExecutor() as pool:
            ends = list(pool.map(Loader.run, loaders[:2], [sweep.scene.lay_out(db)] * 2))

        assert [end.status for end in ends] == [sweep.status] * 2, ends
        assert list(differences(state(db), sweep.state)) == []


def test_a_loader_that_waits_in_vain_names_the_writer(longer, loaders):
    db = longer.scene.folder / "held.db"
    command = longer.scene.lay_out(db)

    with started(command) as writer:
        wait_for_chunks(db, 4)
        writer.send_signal(signal.SIGSTOP)
        waited = loaders[0].run(command)
        writer.send_signal(signal.SIGCONT)
        writer.communicate(timeout=60)

    is_told(waited, db, rf": process {writer.pid} \(since .* is writing to it; waited 10 s")
    assert writer.returncode == longer.status
    assert list(differences(state(db), longer.state)) == []


def test_a_reader_that_does_not_move_holds_up_no_load(first, loaders):
    db = first.scene.folder / "held.db"
    command = first.scene.lay_out(db)
    loaders[0].run(command)

    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        before = connection.execute("SELECT count(*) FROM _chunks").fetchone()
        began = time.perf_counter()
        again = loaders[0].run([*command, "--again"])
        seconds = time.perf_counter() - began
        after = connection.execute("SELECT count(*) FROM _chunks").fetchone()

    assert again.status == first.status
    assert before == after
    assert seconds < 8  # SQLite would wait 10 s for it to end
    assert list(wounds(db, newer_than=8)) == []


def test_a_reader_sees_whole_chunks_while_a_load_goes_on(longer):
    db = longer.scene.folder / "read.db"
    seen, torn = set(), []

    with started(longer.scene.lay_out(db)) as loading:
        wait_for_chunks(db, 1)
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, isolation_level=None)) as connection:
            while loading.poll() is None:
                torn += half_done(connection)
                seen.add(connection.execute("SELECT count(*) FROM _chunks").fetchone()[0])
        loading.communicate()

    assert torn == []
    assert len(seen) > 10
    assert loading.returncode == longer.status


# The null control: loaders that must not pass


COMMIT = """
    store.execute("COMMIT")
    store.execute("BEGIN IMMEDIATE")"""
LEDGER, REJECTS = "store/ledger.py", "store/rejects.py"
AT_CHECKPOINT = 'at the end of *chunk*, inside the open transaction."""'
AT_COUNTS = "    save_load(store, load)\n"  # the last line of the ledger, after the checkpoint
AT_REJECTS = 'location, bytes and reasons, inside the open transaction."""'
BROKEN = {
    "checkpoint": [(LEDGER, AT_CHECKPOINT, AT_CHECKPOINT + COMMIT)],
    "counts": [(LEDGER, AT_COUNTS, COMMIT + "\n" + AT_COUNTS)],
    "rejects": [
        (REJECTS, AT_REJECTS, AT_REJECTS + """
    later.append((store, source, load, list(rejected)))


later = []


def save_later(store, source, load, rejected):"""),
        (LEDGER, AT_COUNTS, AT_COUNTS + COMMIT + """
    from foundation.store.rejects import later, save_later
    while later:
        save_later(*later.pop())
"""),
    ],
}  # fmt: skip


@pytest.mark.parametrize("late", BROKEN)
def test_the_sweep_finds_a_loader_that_writes_something_in_a_second_transaction(first, tmp_path, late):
    package = broken_package(tmp_path, *BROKEN[late])
    with Loader(package) as loader:
        broken = Sweep(Scene(tmp_path, first.scene.data, first.scene.chunk_size), [loader])
        swept = broken.run([[killed_at(call)] for call in after_commits(broken.calls)], until_failure=True)

    assert broken.state == first.state  # undisturbed it does everything right
    assert swept.failures != []


def after_commits(calls: list[Call]) -> list[Call]:
    """What is written next when a transaction is done."""
    writes = [call for call in calls if call.name in WRITES]
    return [call for call, begun in zip(writes[2:], writes, strict=False) if begun.is_commit]
