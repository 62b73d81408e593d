"""A delivery loaded on a real cluster of this machine, held against the same delivery in SQLite, record for record."""

import contextlib
import gzip
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bs4 import BeautifulSoup

import foundation
from foundation.cli import main
from tests.support import loading
from tests.support.deliveries import ALL, append, write_file
from tests.support.effort import effort
from tests.support.fault_score import batches, make_faultless
from tests.support.inspection import counts, snapshot

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from distributed import Client, Event

from foundation.lake import load as lake_load
from foundation.lake.load import connect
from foundation.report.html import without_measured
from foundation.report.provenance.reproduce import verify
from foundation.stats.overview import files_of, loads, rejects
from foundation.store.lock import write_lock

ROOT = Path(__file__).parents[2]
ingest = partial(lake_load.ingest, sources=foundation.SOURCES)
DELIVERY = Path(os.environ.get("FOUNDATION_DELIVERY", ROOT / "data/sample"))  # eight files, perhaps real ones
IS_REAL = DELIVERY != ROOT / "data/sample"
WHOLE = 64 * 2**20


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect("local", workers=2) as client:
        yield client


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def require_same(out: Path | str, db: Path) -> None:
    (content, refused), (wanted_content, wanted_refused) = snapshot(out), snapshot(db)
    assert content == wanted_content
    assert refused == wanted_refused


@pytest.mark.parametrize("size", [20_011, WHOLE] if IS_REAL else [701, WHOLE], ids="ranges of {} bytes".format)
def test_a_delivery_is_the_same_as_in_sqlite(client, db, out, size):
    wanted = loading.ingest(DELIVERY, db)

    run = ingest(DELIVERY, out, client=client, range_size=size)

    assert [(load.source, load.status, *counts(load)) for load in run.loads] == [
        (load.source, load.status, *counts(load)) for load in wanted.loads
    ]
    assert all(load.read == load.inserted + load.rejected for load in run.loads)
    require_same(out, db)


def test_keys_and_references_are_joined_in_many_pieces_as_in_one(client, undisturbed, out):
    data, db = undisturbed

    ingest(data, out, client=client, range_size=9_000, join_size=90)

    require_same(out, db)


@pytest.mark.parametrize("size", [150, 1_000], ids="ranges of {} bytes".format)
def test_faults_of_every_stage_are_refused_as_in_sqlite(client, faulty_data, db, out, size):
    loading.ingest(faulty_data, db)

    ingest(faulty_data, out, client=client, range_size=size)

    require_same(out, db)


@pytest.mark.sweep
def test_the_corpus_of_faults_is_refused_as_in_sqlite(client, tmp_path):
    clean = make_faultless(tmp_path)
    for at, batch in enumerate(islice(batches(clean, seed=0), 3, None, effort(19, 6, 1))):
        data, db, out = (tmp_path / f"{what}{at}" for what in ("data", "db", "out"))
        data.mkdir()
        for name in ALL:
            data.joinpath(f"{name}.csv").write_bytes(
                batch[name].data if name in batch else (tmp_path / f"{name}.csv").read_bytes()
            )
        loading.ingest(data, db)

        ingest(data, out, client=client, range_size=1_200)

        require_same(out, db)


def test_what_is_there_is_not_done_again(client, faulty_data, out):
    ingest(faulty_data, out, client=client)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    with foundation.open(out) as lake:
        version, first = lake.version, loads(lake)

    runs = [ingest(faulty_data, out, client=client) for _ in range(2)]

    assert {load.status for run in runs for load in run.loads} == {"skipped"}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before
    with foundation.open(out) as lake:
        assert lake.version == version
        assert loads(lake) == first
        told = [load["load_id"] for load in files_of(lake, runs[1].run_id)]
        assert sorted(told) == [load["load_id"] for load in first]
        assert files_of(lake, runs[0].run_id) == []  # of loads that were skipped the last is known


def test_a_refused_file_that_is_as_it_was_again_leaves_nothing(client, data, out):
    ingest(data, out, client=client)
    sound = (data / "feedback.csv").read_bytes()
    (data / "feedback.csv").write_bytes(b"feedback_id\n1\n")
    ingest(data, out, client=client)
    (data / "feedback.csv").write_bytes(sound)

    ingest(data, out, client=client)

    with foundation.open(out) as lake:
        assert {load["status"] for load in loads(lake)} == {"complete"}
        assert not [reject for reject in rejects(lake) if reject["stage"] == "file"]


def test_with_again_all_is_done_anew_and_is_the_same(client, faulty_data, out):
    ingest(faulty_data, out, client=client, range_size=300)
    before = snapshot(out)

    run = ingest(faulty_data, out, client=client, again=True)

    assert {load.status for load in run.loads} == {"complete"}
    assert snapshot(out) == before


def test_another_delivery_is_not_mixed_with_that_which_is_there(client, data, out):
    ingest(data, out, client=client)
    before = snapshot(out)
    append(data / "orders.csv", "\n")

    with pytest.raises(foundation.StoreError, match=r"it holds orders of another delivery.*name another folder"):
        ingest(data, out, client=client)

    assert snapshot(out) == before


def test_parents_that_come_later_release_their_children(client, faulty_data, db, out):
    loading.ingest(faulty_data, db, only=["orders", "feedback"])
    loading.ingest(faulty_data, db)
    ingest(faulty_data, out, client=client, only=["orders", "feedback"])
    assert snapshot(out)[0]["orders"] == []

    ingest(faulty_data, out, client=client)

    require_same(out, db)


def test_a_file_that_is_refused_leaves_the_others(client, data, out, db):
    write_file(data, "drivers", "1,short\n").write_text("driver_id\n1\n")
    (data / "feedback.csv").unlink()
    loading.ingest(data, db)

    run = ingest(data, out, client=client)

    assert run.status == "refused"
    assert [load.source for load in run.loads if load.status == "refused"] == ["drivers", "feedback"]
    require_same(out, db)


def test_packed_files_and_other_dialects_are_read_as_into_sqlite(client, tmp_path, db, out):
    class Town(foundation.Record, table="towns", key="town", delimiter=";", encoding="cp1252"):
        """A town."""

        town: str
        people: int

    text = "town;people\n" + "".join(f'"Köln {n}\n{n}";{n}\n' for n in range(200)) + "Bonn;many\n"
    (tmp_path / "towns.csv.gz").write_bytes(gzip.compress(text.encode("cp1252")))
    for size in 300, WHOLE:
        loading.ingest(tmp_path, db, sources=[Town.__source__])
        (load,) = ingest(tmp_path, f"{out}{size}", client=client, sources=[Town.__source__], range_size=size).loads
        (tmp_path / "towns.csv").write_bytes(text.encode("cp1252"))
        (tmp_path / "towns.csv.gz").unlink(missing_ok=True)

        with (
            foundation.open(f"{out}{size}", sources=[Town.__source__]) as lake,
            foundation.open(db, sources=[Town.__source__]) as database,
        ):
            assert lake["towns"].frame().equals(database["towns"].frame())
        assert counts(load) == (201, 200, 0, 0, 1)


def test_several_files_of_a_source_are_refused_in_words(client, tmp_path, out):
    class Town(foundation.Record, table="towns", key="town", files="towns_*.csv"):
        """A town."""

        town: str

    for name in "ab":
        (tmp_path / f"towns_{name}.csv").write_text(f"town\n{name}\n")

    with pytest.raises(foundation.SourceError, match=r"towns has 2 files.*--db"):
        ingest(tmp_path, out, client=client, sources=[Town.__source__])


def test_a_whole_column_that_fails_is_told_in_words(client, data, out):
    write_file(data, "feedback", *[{"created_at": "3/7/2025 8:48"}] * 5)

    run = ingest(data, out, client=client)

    (warning,) = next(load.warnings for load in run.loads if load.source == "feedback")
    assert warning.startswith("created_at: 5 of 5 records are refused for values like '3/7/2025 8:48': a spreadsheet's")


def test_both_folders_may_be_at_any_address(data, db):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in data.iterdir():
        memory.pipe(f"/inbox/{path.name}", path.read_bytes())
    loading.ingest(data, db)

    with Client(processes=False, n_workers=1, dashboard_address=":0") as client:  # whose memory is that of this process
        ingest("memory://inbox", "memory://out/", client=client, range_size=500)

    require_same("memory://out", db)


def test_a_source_that_refers_to_itself_is_refused_in_words(client, tmp_path, out):
    class Part(foundation.Record, table="parts", key="part_id", references={"whole": "parts"}):
        """A part."""

        part_id: int
        whole: int | None = None

    (tmp_path / "parts.csv").write_text("part_id,whole\n1,\n")

    with pytest.raises(foundation.SchemaError, match=r"parts refers to itself.*--db"):
        ingest(tmp_path, out, client=client, sources=[Part.__source__])


def test_a_key_of_several_columns_and_sources_of_ones_own(client, tmp_path, out):
    sources = tmp_path / "mine.py"
    sources.write_text(
        "from foundation import Record\n"
        "class Item(Record, table='items', key=('invoice', 'item')):\n    'One.'\n    invoice: int\n    item: str\n"
    )
    (tmp_path / "items.csv").write_text("invoice,item\n1,a\n1,b\n1,a\n2,a\n1,b\n")
    declared = foundation.load_sources(sources)

    (load,) = ingest(tmp_path, out, client=client, sources=declared, range_size=5).loads

    with foundation.open(out, sources=declared) as lake:
        assert [(row["invoice"], row["item"]) for row in lake["items"]] == [(1, "a"), (1, "b"), (2, "a")]
        assert lake.rows("SELECT record, value, message FROM _rejects JOIN _errors USING (reject_id)").fetchall() == [
            (3, '["1","a"]', "record 1 of this file has this key already"),
            (5, '["1","b"]', "record 2 of this file has this key already"),
        ]
    assert counts(load) == (5, 3, 0, 0, 2)


class Killed(Thread):
    """Sends a signal to a process as soon as so many parts are there."""

    def __init__(self, out: Path, pid: int, parts: int = 3, number: int = signal.SIGKILL) -> None:
        super().__init__(daemon=True)
        self.out, self.pid, self.parts, self.number = out, pid, parts, number
        self.start()

    def run(self) -> None:
        while len(list(self.out.glob("*/*.parquet"))) < self.parts:
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, self.number)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A delivery, and what is to become of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data, db = shutil.copytree(ROOT / "data/sample", folder / "data"), folder / "test.db"
    loading.ingest(data, db)
    return data, db


def test_a_killed_worker_costs_its_tasks_only(client, undisturbed, out):
    data, db = undisturbed
    pids = set(client.run(os.getpid).values())
    killed = Killed(out, min(pids))

    ingest(data, out, client=client, range_size=2_000)

    killed.join(5)
    client.wait_for_workers(2, timeout=30)
    assert set(client.run(os.getpid).values()) != pids
    require_same(out, db)


def start(*command: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", *map(str, command)], stderr=subprocess.PIPE, text=True)


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


def test_an_error_arrives_from_another_process_as_it_was():
    error = pickle.loads(pickle.dumps(foundation.SourceError("not_found", "x.csv: no such file")))  # noqa: S301

    assert (error.code, str(error)) == ("not_found", "x.csv: no such file")


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


def report(data: Path, *more: str | Path) -> Path:
    """The folder of a run that is made, and its exit status asserted to be 0."""
    assert main(["report", str(data), *map(str, more)]) == 0
    out = Path(more[more.index("--out") + 1])
    return max(path.parent for path in out.glob("*/index.html"))


@pytest.fixture(scope="module")
def reports(client: Client, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same delivery through SQLite, and through a cluster of which a worker is killed in the middle."""
    home = tmp_path_factory.mktemp("reports")
    data = ROOT / "data/sample"
    pids = set(client.run(os.getpid).values())
    with start("foundation", "report", data, "--db", home / "x.db", "--out", home / "sqlite") as other:
        killed = Killed(home / "lake", min(pids), parts=12)
        made = report(
            data, "--to", home / "lake", "--out", home / "dask", "--cluster", client.scheduler.address,
            "--range-size", "5000",
        )  # fmt: skip
        other.communicate()
    killed.join(5)
    client.wait_for_workers(2, timeout=30)
    assert set(client.run(os.getpid).values()) != pids
    return next(path.parent for path in (home / "sqlite").glob("*/index.html")), made


def shown(page: Path) -> list[str]:
    """The sentences and tables of a page, but those that tell of what was measured, or of digests."""
    found = BeautifulSoup(without_measured(page.read_text("utf-8")), "html.parser")
    told = (part.get_text(" ", strip=True) for part in found.main(["p", "li", "table"]))
    return [text for text in told if "sha256" not in text]


def test_a_report_through_a_cluster_has_the_pages_of_one_into_sqlite_even_if_a_worker_is_killed(reports):
    pages = sorted(path.name for path in reports[0].glob("*.html"))

    assert len(pages) == 11
    assert sorted(path.name for path in reports[1].glob("*.html")) == pages
    for name in pages:
        wanted, found = ([text.replace(run.name, "RUN") for text in shown(run / name)] for run in reports)
        assert found == wanted, name


def test_the_index_and_the_pages_of_a_run_tell_of_the_cluster(reports):
    sqlite, (index, page) = reports[0], ((reports[1] / name) for name in ("index.html", "01_ingest_orders.html"))

    rows = [[cell.get_text() for cell in row(["th", "td"])] for row in cluster_of(index)("tr")]

    assert rows[0] == ["worker", "parts", "MB read", "MB written", "seconds", "peak MB"]
    assert len(rows) > 2
    with foundation.open(reports[1].parents[1] / "lake") as lake:
        parts, size = lake.rows("SELECT count(*), sum(bytes) FROM _chunks").fetchone()
        files = sum(path.stat().st_size for path in Path(lake.path).rglob("*.parquet"))
    assert sum(int(row[1]) for row in rows[1:]) == parts > 30
    for column, whole in ((2, size), (3, files)):
        assert sum(float(row[column]) for row in rows[1:]) == pytest.approx(whole / 1e6, abs=0.01 * len(rows))
    assert all(100 < float(row[5]) < 1_000 for row in rows[1:])
    assert "worker" in BeautifulSoup(page.read_text("utf-8"), "html.parser").find_all("table")[-4].get_text()
    assert cluster_of(sqlite / "index.html") is None
    assert "in the largest worker" in page.read_text("utf-8")


def cluster_of(index: Path) -> Any:
    """The table of the cluster that an index has."""
    heading = BeautifulSoup(index.read_text("utf-8"), "html.parser").find(id="cluster")
    return heading and heading.find_next("table")


OWN = "from foundation import Record\nclass Item(Record, table='items', key='item'):\n    'One.'\n    item: int\n"


@pytest.fixture
def own(tmp_path: Path) -> list[str | Path]:
    """What a small report takes: a delivery of one source, where it goes."""
    (tmp_path / "items").mkdir()
    (tmp_path / "items/items.csv").write_text("item\n" + "".join(f"{n}\n" for n in (1, 2, 3, 2, "x")))
    (tmp_path / "mine.py").write_text(OWN)
    return [tmp_path / "items", "--sources", tmp_path / "mine.py", "--to", tmp_path / "lake", "--out", tmp_path / "out"]


def test_a_report_is_verified_on_a_cluster_of_this_machine_and_not_made_again(own, client, capsys):
    made = report(*own, "--cluster", client.scheduler.address, "--range-size", "5")
    assert "DASK_SCHEDULER_ADDRESS" not in os.environ
    pids = {str(pid) for pid in client.run(os.getpid).values()}  # the notebooks have started no cluster of their own
    assert {row.th.get_text().rpartition(":")[2] for row in cluster_of(made / "index.html")("tr")[1:]} <= pids

    assert report(*own, "--cluster", "tcp://127.0.0.1:9", "--range-size", "5") == made  # nobody is asked there
    assert "nothing has changed since run" in capsys.readouterr().err
    assert verify(made, sources=foundation.SOURCES) == []

    other = report(*own[:-1], own[-1].with_name("other"), "--cluster", client.scheduler.address, "--range-size", "5")
    page = (other / "01_ingest_items.html").read_text("utf-8")
    assert "3 of 5 records of items are stored, 2 are refused." in page
    assert "Nothing has changed since it was loaded" in page
    assert cluster_of(other / "index.html") == cluster_of(made / "index.html")
    with pytest.raises(foundation.ReportError, match="had seen 1 loads"):
        verify(other, sources=foundation.SOURCES)


def test_what_keeps_a_report_from_being_made_is_told_in_words_before_a_notebook_is_run(own, tmp_path, capsys):
    def told(*more: str | Path) -> str:
        assert main(["report", *map(str, [*own, *more])]) == 2
        return capsys.readouterr().err

    own[4] = tmp_path / "mine.py"
    assert "mine.py: a file is there, and a folder of Parquet is wanted; name another place" in told()
    own[0] = "s3://bucket/inbox"
    assert "s3://bucket/inbox: a report reads its delivery from a folder" in told()
    own[3:5] = ["--db", tmp_path]
    own[0] = tmp_path / "items"
    assert "a folder is there, and this takes a database file" in told()
    assert not list(tmp_path.glob("out/*"))
    with pytest.raises(SystemExit, match="2"):
        main(["report", *map(str, own), "--to", str(tmp_path / "lake")])
    assert "not allowed with argument --db" in capsys.readouterr().err


def test_a_folder_with_another_delivery_takes_no_report(own, tmp_path, client, capsys):
    ingest(own[0], tmp_path / "lake", client=client, sources=foundation.load_sources(tmp_path / "mine.py"))
    append(tmp_path / "items/items.csv", "7\n")

    assert main(["report", *map(str, own)]) == 2

    assert "it holds items of another delivery" in (told := capsys.readouterr().err)
    assert "name another folder" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["repair", "replay", "migrate"])
def test_what_only_a_database_takes_is_told(client, data, out, verb, capsys):
    ingest(data, out, client=client)

    assert main([verb, *([str(data)] if verb == "repair" else []), "--db", str(out)]) == 2

    assert "a folder is there, and this takes a database file" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["ingest", "report"])
def test_a_package_that_is_not_here_is_told_with_how_to_get_it(own, verb, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for name in ("foundation.lake.load", "foundation.lake.client"):
        monkeypatch.delitem(sys.modules, name)

    assert main([verb, *map(str, own[: 5 if verb == "ingest" else 7])]) == 2

    assert (
        "distributed is not here; --to is for a cluster: pip install 'foundation[cluster]'" in capsys.readouterr().err
    )
