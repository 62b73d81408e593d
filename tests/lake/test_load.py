"""A delivery loaded on a real cluster of this machine, held against the same delivery in SQLite, record for record."""

import gzip
import os
import pickle
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

import foundation
from foundation.cli import main
from tests.support import loading
from tests.support.cluster import require_same
from tests.support.deliveries import ALL, append, write_file
from tests.support.effort import effort
from tests.support.fault_score import batches, make_faultless
from tests.support.inspection import counts, snapshot

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from distributed import Client

from foundation.lake import load as lake_load
from foundation.stats.overview import files_of, loads, rejects

ROOT = Path(__file__).parents[2]
ingest = partial(lake_load.ingest, sources=foundation.SOURCES)
DELIVERY = Path(os.environ.get("FOUNDATION_DELIVERY", ROOT / "data/sample"))  # eight files, perhaps real ones
IS_REAL = DELIVERY != ROOT / "data/sample"
WHOLE = 64 * 2**20


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


def test_an_error_arrives_from_another_process_as_it_was():
    error = pickle.loads(pickle.dumps(foundation.SourceError("not_found", "x.csv: no such file")))  # noqa: S301

    assert (error.code, str(error)) == ("not_found", "x.csv: no such file")


@pytest.mark.parametrize("verb", ["repair", "replay", "migrate"])
def test_what_only_a_database_takes_is_told(client, data, out, verb, capsys):
    ingest(data, out, client=client)

    assert main([verb, *([str(data)] if verb == "repair" else []), "--db", str(out)]) == 2

    assert "a folder is there, and this takes a database file" in capsys.readouterr().err
