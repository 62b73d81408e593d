"""Loads in real processes that are disturbed at a chosen system call (by strace) or moment, then run again.

A `Loader` is a process that has imported the package and forks for each load, which takes a tenth of the time; run as
a script, this file is that process.
"""

import ast
import json
import os
import re
import resource
import select
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, Self

from foundation.__main__ import main

PACKAGE = Path(sys.modules["foundation"].__path__[0])
BESIDE = ("", "-wal", "-shm", "-journal", ".lock")  # what may stand beside a database
WRITES = ("pwrite64", "write", "writev", "ftruncate", "fallocate")
SYNCS = ("fdatasync", "fsync", "msync")
OTHERS = ("openat", "unlink", "unlinkat", "rename", "mkdir", "fchmod", "fchown")
READS = ("pread64", "read")
HUNG_S = 120


class Fault(NamedTuple):
    """What disturbs a load; nothing, if nothing is named."""

    inject: tuple[str, ...] = ()  # as strace has it: "pwrite64:error=EIO:when=7"
    signal: int = 0
    after_s: float = HUNG_S  # when the signal is sent
    largest: int | None = None  # no file may grow beyond so many bytes


class Outcome(NamedTuple):
    """How a load ended: its exit status, negative when a signal ended it, and what it said on standard error."""

    status: int
    told: str


class Call(NamedTuple):
    """A system call of a load, the *number*th of its name; *path* is the file it goes to."""

    name: str
    number: int
    path: str
    is_commit: bool  # the header of the last frame that a transaction writes


# The process that loads


class Loader:
    """Runs the command line of a *package* again and again, each time in a fresh process."""

    def __init__(self, folder: Path, package: Path = PACKAGE) -> None:
        self.folder = folder
        self._serving = subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | {"PYTHONPATH": str(package.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == str(package), "another package is loaded than the one to be tested"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.communicate()

    def run(self, arguments: Sequence[object], fault: Fault = Fault(), *, trace: Path | None = None) -> Outcome:  # noqa: B008
        """One run of the command line; its system calls go to the file *trace*."""
        told = self.folder / "told"
        order = {"arguments": list(map(str, arguments)), "told": str(told), "trace": str(trace or ""), **fault._asdict()}
        assert self._serving.stdin
        self._serving.stdin.write(json.dumps(order) + "\n")
        self._serving.stdin.flush()
        return Outcome(self._answer(), told.read_text())

    def _answer(self) -> Any:
        assert self._serving.stdout
        return json.loads(self._serving.stdout.readline())


def serve() -> None:
    """Carry out one order a line from standard input, and answer with the exit status."""
    print(json.dumps(str(PACKAGE)), flush=True)
    for line in sys.stdin:
        print(_carry_out(json.loads(line)), flush=True)


def _carry_out(order: dict[str, Any]) -> int:
    waiting, go = os.pipe()
    child = os.fork()
    if not child:
        os.close(go)
        _load(order, waiting)
    os.close(waiting)
    with _watched(child, order):
        os.close(go)
        end = os.pidfd_open(child)
        if not select.select([end], [], [], order["after_s"])[0]:
            os.kill(child, order["signal"] or signal.SIGKILL)
            if not select.select([end], [], [], HUNG_S)[0]:
                os.kill(child, signal.SIGKILL)
        os.close(end)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _load(order: dict[str, Any], waiting: int) -> None:
    """Become the command line; never returns."""
    status = 70
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(order["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.read(waiting, 1)  # until strace looks on
        if order["largest"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
        status = main(order["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


@contextmanager
def _watched(child: int, order: dict[str, Any]) -> Iterator[None]:
    """Have strace look at the process *child* if anything is to be traced or injected."""
    options = [f"-einject={fault}" for fault in order["inject"]]
    names = {fault.partition(":")[0] for fault in order["inject"]} or {*WRITES, *SYNCS, *OTHERS, *READS}
    if not order["inject"] and not order["trace"]:
        yield
        return
    command = ["strace", "-f", "-y", "-s64", f"-p{child}", f"-o{order['trace'] or os.devnull}"]
    strace = subprocess.Popen(
        [*command, f"-etrace={','.join(sorted(names))}", *options], stderr=subprocess.PIPE, text=True
    )
    assert strace.stderr
    with strace.stderr:
        attached = strace.stderr.readline()
        assert "attached" in attached, attached
        yield
        strace.stderr.read()
    strace.wait()


# The load that is disturbed


@dataclass(frozen=True)
class Scene:
    """A load: of the folder *data* into a database that is new or begins as a copy of *base*."""

    folder: Path
    data: Path
    chunk_size: int
    base: Path | None = None

    def lay_out(self, db: Path) -> list[object]:
        """Put the database there as it is before the load, and give the command that loads."""
        for end in BESIDE:
            db.with_name(db.name + end).unlink(missing_ok=True)
        if self.base:
            db.write_bytes(self.base.read_bytes())
        return ["ingest", self.data, "--db", db, "--chunk-size", self.chunk_size, "--json"]


class Sweep:
    """Disturbs a load of a scene in many ways, on two processors; `failures` says what went wrong."""

    def __init__(self, scene: Scene, package: Path = PACKAGE) -> None:
        self.scene = scene
        self.package = package
        self.loads = 0
        self.disturbed = 0
        self.failures: list[str] = []
        self.told: set[str] = set()
        with self._loader("reference") as loader:
            db = loader.folder / "reference.db"
            trace = loader.folder / "trace"
            self.status = loader.run(scene.lay_out(db)).status
            assert self.status in (0, 1), "the load fails without being disturbed"
            self.state = state(db)
            self.old_loads = query(scene.base, "SELECT max(load_id) FROM _loads")[0] if scene.base else 0
            loader.run(scene.lay_out(db), trace=trace)
            self.calls = [call for call in read_trace(trace) if call.path.startswith(str(db))]

    def _loader(self, name: str) -> Loader:
        folder = self.scene.folder / name
        folder.mkdir(exist_ok=True)
        return Loader(folder, self.package)

    def run(self, trials: Iterable[Sequence[Fault]], *, until_failure: bool = False) -> Self:
        """Run each trial: on one database, a load with each fault of it in turn, then an undisturbed one."""
        waiting = iter(list(trials))

        def work(number: int) -> None:
            with self._loader(f"worker{number}") as loader:
                for trial in waiting:
                    if until_failure and self.failures:
                        return
                    self.failures += [f"{trial}: {problem}" for problem in self._try(loader, trial)]

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(2)))
        return self

    def _try(self, loader: Loader, trial: Sequence[Fault]) -> Iterator[str]:
        db = loader.folder / "test.db"
        command = self.scene.lay_out(db)
        for fault in trial:
            outcome = loader.run(command, fault)
            self.loads += 1
            self.disturbed += outcome.status != self.status
            yield from self._judge(outcome, fault, db)
            yield from wounds(db, newer_than=self.old_loads)
        outcome = loader.run(command)
        if outcome.status != self.status:
            yield f"ends with {outcome.status} and not {self.status} when run again: {outcome.told}"
        yield from differences(state(db), self.state)

    def _judge(self, outcome: Outcome, fault: Fault, db: Path) -> Iterator[str]:
        """A disturbed load was killed, or says what is the matter, or has come to its end all the same."""
        if outcome.status == self.status:
            yield from differences(state(db), self.state)
        elif outcome.status == 2:
            self.told.add(outcome.told.replace(str(db), "DB"))
            stopped = "run the same command again" in outcome.told and fault.signal
            one_paragraph = outcome.told.startswith("foundation: ") and outcome.told.count("\n") == 1
            if "Traceback" in outcome.told or not (stopped or (one_paragraph and str(db) in outcome.told)):
                yield f"says no clear word: {outcome.told}"
        elif outcome.status != -signal.SIGKILL or "KILL" not in f"{fault.inject} {signal.Signals(fault.signal or 1).name}":
            yield f"ends with {outcome.status}: {outcome.told}"


def kills(calls: Iterable[Call]) -> Iterator[Fault]:
    """A kill before each of these calls."""
    return (Fault((f"{call.name}:signal=SIGKILL:when={call.number}",)) for call in calls)


def read_trace(path: Path) -> list[Call]:
    """The calls in a file that strace wrote."""
    numbers: dict[str, Iterator[int]] = {}
    calls = []
    for line in path.read_text().splitlines():
        if found := _CALL.match(line):
            name, arguments = found.groups()
            number = next(numbers.setdefault(name, count(1)))
            calls.append(Call(name, number, _path(arguments), _is_commit(arguments)))
    return calls


_CALL = re.compile(r"[0-9]+ +(\w+)\((.*)")
_FRAME = re.compile(r'[0-9]+<[^>]+-wal>, ("(?:[^"\\]|\\.)*"), 24,')


def _path(arguments: str) -> str:
    found = re.match(r"[0-9]+<([^>]*)>", arguments) or re.search(r'"([^"]*)"', arguments)
    return found[1] if found else ""


def _is_commit(arguments: str) -> bool:
    """Whether this is the header of a frame of the log with the size that the database has from then on."""
    found = _FRAME.match(arguments)
    return found is not None and any(ast.literal_eval("b" + found[1])[4:8])


# What must be true of a database


def query(db: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(db)) as connection:
        return _query(connection, sql)


def _query(connection: sqlite3.Connection, sql: str) -> list[Any]:
    rows = connection.execute(sql).fetchall()
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows


def state(db: Path) -> dict[str, list[Any]]:
    """All that must not depend on what came between: content, rejects, counts, checks, indexes."""
    with closing(sqlite3.connect(db)) as connection:
        names = _query(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'")
        found = {}
        for name in names:
            columns = _query(connection, f"SELECT name FROM pragma_table_info('{name}') WHERE name <> '_load'")
            found[name] = _query(connection, f"SELECT {', '.join(columns)} FROM {name} ORDER BY 1")
        return found | {told: _query(connection, sql) for told, sql in _STATE.items()}


# A file that is refused is refused by every load.
_STATE = {
    "rejects": """
        SELECT source, path, record, line, last_line, byte_start, byte_end, raw, key, status, (
            SELECT json_group_array(json_array(number, stage, code, "column", value, message)) FROM (
                SELECT * FROM _errors e WHERE e.reject_id = r.reject_id ORDER BY number
            )
        ) FROM _rejects r WHERE record IS NOT NULL OR status = 'open' ORDER BY source, path, reject_id
        """,
    "loads": """
        SELECT source, path, kind, status, sha256, bytes, read, inserted, updated, unchanged, rejected FROM _loads l
        WHERE status <> 'skipped' AND NOT (
            status = 'refused' AND load_id < (SELECT max(load_id) FROM _loads m WHERE m.source = l.source)
        ) ORDER BY source, load_id
        """,
    "checks": """
        SELECT s.source, name, value FROM _stats s JOIN _loads l USING (load_id) ORDER BY s.source, load_id, name
        """,
    "schema": "SELECT type, name, sql FROM sqlite_schema ORDER BY name",
    "run": "SELECT status, finished IS NOT NULL FROM _runs ORDER BY rowid DESC LIMIT 1",
}


def differences(found: dict[str, list[Any]], wanted: dict[str, list[Any]]) -> Iterator[str]:
    """Where two states differ, with the first rows that only one of them has."""
    for name in found.keys() | wanted.keys():
        ours, theirs = found.get(name, []), wanted.get(name, [])
        if ours != theirs:
            more = [row for row in ours if row not in theirs][:2]
            less = [row for row in theirs if row not in ours][:2]
            yield f"{name}: {len(ours)} rows and not {len(theirs)}; too much: {more}; lacking: {less}"


def wounds(db: Path, *, newer_than: int = 0) -> Iterator[str]:
    """What is damaged or half done in a database on which a load has just ended in any way."""
    if not db.exists():
        return
    with closing(sqlite3.connect(db)) as connection:
        if (check := _query(connection, "PRAGMA integrity_check")) != ["ok"]:
            yield f"damaged: {check}"
        if broken := _query(connection, "PRAGMA foreign_key_check"):
            yield f"rows without their parents: {broken}"
        tables = set(_query(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'"))
        if tables and not tables >= {"_runs", "_loads", "_chunks", "_rejects", "_errors", "_stats"}:
            yield f"the ledger is half made: {tables}"
        elif tables:
            yield from half_done(connection, newer_than=newer_than)


def half_done(connection: sqlite3.Connection, *, newer_than: int = 0) -> Iterator[str]:
    """The loads whose counts are not those of their chunks, their rows and their rejects; all seen at one moment."""
    connection.execute("BEGIN")
    loads = connection.execute(
        """
        SELECT load_id, source, read, inserted + updated + unchanged, rejected,
            (SELECT coalesce(sum(records), 0) FROM _chunks c WHERE c.load_id = l.load_id),
            (SELECT count(*) FROM _rejects r WHERE r.load_id = l.load_id)
        FROM _loads l WHERE load_id > ? AND status NOT IN ('skipped', 'refused')
        """,
        (newer_than,),
    ).fetchall()
    for load, source, read, stored, rejected, records, rejects in loads:
        (rows,) = _query(connection, f"SELECT count(*) FROM {source} WHERE _load = {load}")
        if not (read == records == rows + rejects and stored == rows and rejected == rejects):
            yield f"half done: load {load} of {source}: {(read, stored, rejected)} counted, {(records, rows, rejects)} there"
    connection.execute("COMMIT")


# Loaders broken on purpose


def broken_package(folder: Path, changes: dict[str, tuple[str, str]]) -> Path:
    """A copy of the package in which texts are replaced, each by another: `{file: (text, other)}`."""
    package = folder / "foundation"
    subprocess.run(["/usr/bin/env", "cp", "-r", PACKAGE, package], check=True)
    for name, (text, other) in changes.items():
        path = package / name
        whole = path.read_text()
        assert whole.count(text) == 1, f"{name} has changed: {text!r} is not there once"
        path.write_text(whole.replace(text, other))
    return package


if __name__ == "__main__":
    serve()
