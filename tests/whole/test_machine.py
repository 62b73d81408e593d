"""A database through any history: loads stopped and killed, files that change, repairs, replays; nothing is lost."""

import csv
import shutil
import sqlite3
import tempfile
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import foundation
from foundation.pipeline.corrections import repair
from foundation.pipeline.revalidate import replay, rewriting
from foundation.query.rejects_export import export_rejects
from tests.support.deliveries import SOUND, header, line
from tests.support.effort import effort
from tests.support.inspection import content, query
from tests.support.loading import ingest, tuned
from tests.support.processes import in_child, kill_at

SOURCES = [source for source in foundation.SOURCES if source.name in ("clients", "orders")]
KEYS = {source.name: source.key for source in SOURCES}
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # thousands of small databases: no disk
pytestmark = pytest.mark.sweep

NAME = st.sampled_from(list(KEYS))
KEY = st.integers(1, 9)
CITY = st.sampled_from(["Pune", "Agra", "Surat"])
CHUNK = st.sampled_from([1, 2, 3, 1_000])
MAYBE = st.sampled_from([0, 1, 1_000])  # chunk size of a load that follows at once, 0 for none
KIND = st.sampled_from(["sound", "sound", "schema", "parse", "orphan"])


def record(source: str, key: int, client: int, kind: str, city: str) -> str:
    """One line of a file, sound or with a fault."""
    changes = {"client_id": 77 if kind == "orphan" else client} if source == "orders" else {}
    if kind == "schema":
        changes["created_at"] = "soon"
    text = line(source, key, city=city, **changes)
    return text.replace("Maharashtra", 'Maha"rashtra') if kind == "parse" else text


class Deliveries(RuleBasedStateMachine):
    """Two sources, a folder of their files, a database; `records` is what stands in the files."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="machine-", dir=MEMORY))
        self.data, self.db = self.home / "data", self.home / "x.db"
        self.data.mkdir()
        self.records: dict[str, list[tuple[int, int, str, str]]] = {name: [] for name in KEYS}
        self.loaded: set[str] = set()  # sources of which the file was loaded to its end as it stands
        self.new_keys, self.turns = count(1_000), count()
        for name in KEYS:
            self.write(name)

    def teardown(self) -> None:
        try:
            self.require_same_as_undisturbed()
        finally:
            shutil.rmtree(self.home)

    def write(self, name: str, chunk_size: int = 0) -> None:
        lines = [record(name, *fields) for fields in self.records[name]]
        (self.data / f"{name}.csv").write_text(header(name) + "".join(lines), encoding="utf-8", newline="")
        self.loaded.discard(name)
        if chunk_size:
            self.ingest(chunk_size, False)

    def load(self, **options: object) -> foundation.Run:
        known = tuned(parents_bytes=next(self.turns) % 2 * 2**40)  # every second time parents are
        return known(self.data, self.db, sources=SOURCES, **options)

    @rule(name=NAME, key=KEY, client=KEY, kind=KIND, chunk_size=MAYBE)
    def append(self, name, key, client, kind, chunk_size):
        self.records[name].append((key, client, kind, "Pune"))
        self.write(name, chunk_size)

    @initialize(
        client=st.lists(KEY, min_size=3, max_size=6, unique=True),
        orders=st.lists(KEY, min_size=3, max_size=6, unique=True),
    )
    def deliver(self, client, orders):
        self.records["clients"] += [(key, 0, "sound", "Pune") for key in client]
        self.records["orders"] += [(key, key, "sound", "Agra") for key in orders]
        self.write("clients")
        self.write("orders")

    @rule(name=NAME, data=st.data(), kind=KIND, city=CITY, chunk_size=MAYBE)
    def change(self, name, data, kind, city, chunk_size):
        if self.records[name]:
            at = data.draw(st.integers(0, len(self.records[name]) - 1))
            self.records[name][at] = (*self.records[name][at][:2], kind, city)
            self.write(name, chunk_size)

    @rule(name=NAME, data=st.data(), chunk_size=MAYBE)
    def remove(self, name, data, chunk_size):
        if self.records[name]:
            del self.records[name][data.draw(st.integers(0, len(self.records[name]) - 1))]
            self.write(name, chunk_size)

    @rule(name=NAME, kind=KIND, chunk_size=MAYBE)
    def spoil(self, name, kind, chunk_size):
        self.records[name][::2] = [(*fields[:2], kind, fields[3]) for fields in self.records[name][::2]]
        self.write(name, chunk_size)

    @rule(name=NAME, chunk_size=MAYBE)
    def mend(self, name, chunk_size):
        self.records[name] = [(*fields[:2], "sound", fields[3]) for fields in self.records[name]]
        self.write(name, chunk_size)

    @rule(chunk_size=CHUNK, again=st.booleans())
    def ingest(self, chunk_size, again):
        assert self.load(chunk_size=chunk_size, again=again).status == "complete"
        self.loaded = set(KEYS)

    def move(self, city: str) -> None:
        """Change all records of both files: a load has something to do."""
        for name in KEYS:
            self.records[name] = [(*fields[:3], city) for fields in self.records[name]]
            self.write(name)

    @rule(city=CITY, chunk_size=CHUNK, chunks=st.integers(1, 6))
    def stop(self, city, chunk_size, chunks):
        self.move(city)
        steps = count(1)
        run = self.load(chunk_size=chunk_size, is_stopped=lambda: next(steps) >= chunks)
        self.loaded |= {load.source for load in run.loads if load.status in ("complete", "skipped")}

    @rule(city=CITY, chunk_size=CHUNK, statement=st.integers(1, 200), is_resumed=st.booleans())
    def kill(self, city, chunk_size, statement, is_resumed):
        def act():
            kill_at("statement", statement)
            self.load(chunk_size=chunk_size)

        self.move(city)
        if in_child(act) == 0 or is_resumed:
            self.ingest(chunk_size, False)

    @precondition(lambda self: self.tables())
    @rule(is_new_key=st.booleans())
    def repair(self, is_new_key):
        with foundation.open(self.db, sources=SOURCES) as database:
            paths = export_rejects(database, self.home / "out")
        for path in paths:
            if path.suffix == ".csv":
                self.correct(path, is_new_key)
        with rewriting(self.db, SOURCES, "repair") as (store, run_id):
            repair(store, SOURCES, self.home / "out", run_id)
        shutil.rmtree(self.home / "out")

    def correct(self, path: Path, is_new_key: bool) -> None:
        """Mend all rows of an export, orphans aside, that are told apart; with new keys if they are to be stored."""
        with path.open(encoding="utf-8", newline="") as file:
            columns, *rows = csv.reader(file)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for fields in rows:
                row = dict(zip(columns, fields, strict=True))
                row |= {"created_at": "2025-01-01 08:00:00"} if not row["_raw"] else SOUND[path.stem]
                key = KEYS[path.stem]
                row[key] = str(next(self.new_keys)) if is_new_key or row["_raw"] else row[key]
                writer.writerow(row.values())

    @precondition(lambda self: self.tables())
    @rule(dry_run=st.booleans())
    def replay(self, dry_run):
        before = content(self.db)
        with rewriting(self.db, SOURCES, "replay") as (store, run_id):
            replay(store, SOURCES, run_id, dry_run=dry_run)
        assert not dry_run or {key: [] for key in KEYS} | before == content(self.db)  # tables may be made

    @invariant()
    def law_holds(self):
        if self.tables():
            broken = "SELECT * FROM _loads WHERE read <> inserted + updated + unchanged + rejected"
            assert query(self.db, broken) == []
            assert query(self.db, "PRAGMA foreign_key_check") == []
            assert query(self.db, "PRAGMA integrity_check") == ["ok"]

    @invariant()
    def every_record_is_in_one_place(self):
        for name in self.loaded:
            version = f"""
                SELECT load_id FROM _loads WHERE origin =
                (SELECT origin FROM _loads WHERE source = '{name}' AND kind = 'file' ORDER BY load_id DESC LIMIT 1)
            """
            stored = query(self.db, f"SELECT _record FROM {name} WHERE _load IN ({version})")
            refused = query(self.db, f"SELECT record FROM _rejects WHERE status = 'open' AND source = '{name}'")
            assert sorted(stored + refused) == list(range(1, len(self.records[name]) + 1)), name

    def tables(self) -> list[str]:
        """The tables that are there: a process may have been killed before it made them."""
        return query(self.db, "SELECT name FROM sqlite_schema WHERE name = '_rejects'") if self.db.exists() else []

    def require_same_as_undisturbed(self) -> None:
        """Assert that a new database has the same rows for all keys that the files have once."""
        self.load()
        fresh = self.home / "fresh.db"
        ingest(self.data, fresh, sources=SOURCES)
        for name in KEYS:
            used = [fields[0] for fields in self.records[name]]
            wanted = [row for row in content(fresh)[name] if used.count(row[0]) == 1]
            found = {row[0]: row for row in content(self.db)[name]}
            assert wanted == [found.get(row[0]) for row in wanted]


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=effort(20, 2_000, 10_000),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("loss", ["DELETE FROM orders WHERE order_id = 2", "UPDATE _rejects SET status = 'waived'"])
def test_the_machine_notices_a_lost_record(loss):
    machine = Deliveries()
    machine.deliver([1, 2, 3, 4, 5], [1, 2])
    machine.append("orders", 3, 1, "schema", 0)
    machine.ingest(1, False)
    machine.every_record_is_in_one_place()
    with closing(sqlite3.connect(machine.db)) as connection, connection:
        connection.execute(loss)

    with pytest.raises(AssertionError, match="orders"):
        machine.every_record_is_in_one_place()
    shutil.rmtree(machine.home)


def test_a_correction_does_not_undo_what_a_newer_file_has_stored():
    machine = Deliveries()
    machine.deliver([1, 2, 3], [])
    machine.spoil("clients", "schema", 1)
    machine.mend("clients", 0)
    machine.stop(city="Surat", chunk_size=1, chunks=1)
    machine.repair(is_new_key=False)
    machine.ingest(1, again=False)

    machine.every_record_is_in_one_place()
    machine.teardown()
