"""A report through a cluster, held against one into SQLite."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

import foundation
from foundation.cli import main
from tests.support.cluster import Killed, start
from tests.support.deliveries import append

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from distributed import Client

from foundation.lake import load as lake_load
from foundation.report.html import without_measured
from foundation.report.provenance.reproduce import verify

ROOT = Path(__file__).parents[2]
ingest = partial(lake_load.ingest, sources=foundation.SOURCES)


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


@pytest.mark.parametrize("verb", ["ingest", "report"])
def test_a_package_that_is_not_here_is_told_with_how_to_get_it(own, verb, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for name in ("foundation.lake.load", "foundation.lake.client"):
        monkeypatch.delitem(sys.modules, name)

    assert main([verb, *map(str, own[: 5 if verb == "ingest" else 7])]) == 2

    assert (
        "distributed is not here; --to is for a cluster: pip install 'foundation[cluster]'" in capsys.readouterr().err
    )
