"""Loads in real processes that are disturbed at a chosen system call (by strace) or moment, and then run again.

A `Loader` is a process that has imported the package and forks for each load, which takes a third of the time; run as
a script, this file is that process.
"""

import ast
import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple, Self

import foundation
from foundation.cli import main

PACKAGE = Path(foundation.__file__).parent
ROOT = Path(__file__).parents[2]
SYNCS = ("fdatasync", "fsync", "msync")
WRITES = ("pwrite64", "write", "ftruncate", "fallocate", "openat", "unlink", "rename", "fchown", "fchmod", *SYNCS)
READS = ("pread64", "read")
HUNG_S = 120.0
PR_SET_PTRACER = 0x59616D61


class Fault(NamedTuple):
    """What disturbs a load; nothing, if nothing is named."""

    inject: tuple[str, ...] = ()  # as strace has it: "pwrite64:error=EIO:when=7"
    signal: int = signal.SIGKILL
    after_s: float = HUNG_S  # when the signal is sent
    largest: int | None = None  # no file may grow beyond so many bytes


UNDISTURBED = Fault()


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


@dataclass(frozen=True)
class Scene:
    """A load of the folder *data* into a database that is new, or begins as a copy of *base*."""

    folder: Path
    data: Path
    chunk_size: int
    base: Path | None = None

    def lay_out(self, db: Path) -> list[object]:
        """Put the database there as it is before the load, and give the command that loads."""
        copy(self.base or self.folder / "none.db", db)
        return ["ingest", self.data, "--db", db, "--chunk-size", self.chunk_size, "--json"]


def copy(db: Path, other: Path) -> Path:
    """Make *other* what *db* is now, which nobody may have open: also what a process that was killed has left."""
    for end in ("", "-wal", "-journal", "-shm", ".lock"):
        other.with_name(other.name + end).unlink(missing_ok=True)
        if end in ("", "-wal", "-journal") and (part := db.with_name(db.name + end)).exists():
            shutil.copyfile(part, other.with_name(other.name + end))
    return other


# The process that loads


class Loader:
    """Runs the command line of a *package* again and again, each time in a fresh process."""

    def __init__(self, package: Path = PACKAGE) -> None:
        self._serving = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=package.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == str(package), "another package is loaded than the one to be tested"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.communicate()

    def run(self, command: Sequence[object], fault: Fault = UNDISTURBED, *, trace: Path | None = None) -> Outcome:
        """One run of the command line; its system calls go to the file *trace*."""
        order = {"command": list(map(str, command)), "trace": str(trace or "")} | fault._asdict()
        assert self._serving.stdin
        self._serving.stdin.write(json.dumps(order) + "\n")
        self._serving.stdin.flush()
        return Outcome(*self._answer())

    def _answer(self) -> Any:
        assert self._serving.stdout
        return json.loads(self._serving.stdout.readline() or '"the loading process has died"')


def serve() -> None:
    """Carry out one order a line from standard input, and answer with exit status and messages."""
    print(json.dumps(str(PACKAGE)), flush=True)
    for line in sys.stdin:
        print(json.dumps(_carry_out(json.loads(line))), flush=True)


def _carry_out(order: dict[str, Any]) -> tuple[int, str]:
    ours, theirs = socket.socketpair()
    told, telling = os.pipe()
    child = os.fork()
    if not child:
        ours.close()
        _load(order, theirs, telling)
    theirs.close()
    os.close(telling)
    ours.recv(1)
    with _watched(child, order):
        ours.close()
        _end(child, order)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(told, encoding="utf-8") as messages:
        return status, messages.read()


def _load(order: dict[str, Any], parent: socket.socket, telling: int) -> None:
    """Become the command line; never returns."""
    status = 70
    try:
        os.dup2(telling, 2)
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, -1, 0, 0, 0)  # who is not root must be allowed to look on
        parent.send(b".")
        parent.recv(1)  # until strace looks on
        if order["largest"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            status = main(order["command"])
    except BaseException:  # the parent wants to see any
        traceback.print_exc()
    finally:
        os._exit(status)


def _end(child: int, order: dict[str, Any]) -> None:
    """Wait for the process *child* to end, and see that it does."""
    ended = os.pidfd_open(child)
    for number, wait_s in ((order["signal"], order["after_s"]), (signal.SIGKILL, HUNG_S)):
        while not select.select([ended], [], [], wait_s)[0]:
            if number == signal.SIGKILL or _catches_signals(child):
                os.kill(child, number)
                break
            wait_s = 0.01
    os.close(ended)


def _catches_signals(child: int) -> bool:
    """Whether the command line has begun to; Python itself catches SIGINT, but in another way."""
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{child}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@contextmanager
def _watched(child: int, order: dict[str, Any]) -> Iterator[None]:
    """Have strace look at the process *child* if anything is to be traced or injected."""
    names = {fault.partition(":")[0] for fault in order["inject"]} or {*WRITES, *READS}
    if not order["inject"] and not order["trace"]:
        yield
        return
    command = ["strace", "-f", "-y", "-s64", f"-p{child}", f"-o{order['trace'] or os.devnull}"]
    command += [f"-etrace={','.join(sorted(names))}", *(f"-einject={fault}" for fault in order["inject"])]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr
        attached = strace.stderr.readline()
        assert "attached" in attached, attached
        yield
        strace.stderr.read()


# Disturbing a load


class Swept(NamedTuple):
    """What came of many trials."""

    trials: int
    disturbed: int  # loads that did not come to their end
    failures: list[str]


class Sweep:
    """Disturbs the load of a scene; what an undisturbed one gives is the reference."""

    def __init__(self, scene: Scene, loaders: Sequence[Loader]) -> None:
        self.scene = scene
        self._loaders = loaders
        self._old_loads = query(scene.base, "SELECT max(load_id) FROM _loads")[0] if scene.base else 0
        self._db = scene.folder / "reference.db"
        began = time.perf_counter()
        self.status, told = loaders[0].run(scene.lay_out(self._db))
        self.seconds = time.perf_counter() - began
        assert self.status in (0, 1), f"the load fails without being disturbed: {told}"
        self.state = state(self._db)

    @cached_property
    def calls(self) -> list[Call]:
        """The system calls of an undisturbed load that go to the database, what is beside it, and the data."""
        trace = self.scene.folder / "trace"
        self._loaders[0].run(self.scene.lay_out(self._db), trace=trace)
        return [call for call in read_trace(trace) if call.path.startswith((str(self._db), str(self.scene.data)))]

    def run(self, trials: Iterable[Sequence[Fault]], *, until_failure: bool = False) -> Swept:
        """Run each trial, one a loader: on one database a load with each of its faults, then an undisturbed one."""
        left = iter([*trials])

        def work(number: int, loader: Loader) -> list[tuple[int, list[str]]]:
            tried = []
            for trial in left:
                tried.append(self._try(loader, self.scene.folder / f"{number}.db", trial))
                if until_failure and tried[-1][1]:
                    break
            return tried

        with ThreadPoolExecutor() as pool:
            tried = list(chain.from_iterable(pool.map(work, count(), self._loaders)))
        return Swept(
            len(tried), sum(disturbed for disturbed, _ in tried), [wrong for _, found in tried for wrong in found]
        )

    def _try(self, loader: Loader, db: Path, trial: Sequence[Fault]) -> tuple[int, list[str]]:
        """How many loads were disturbed, and what went wrong."""
        command, seen = self.scene.lay_out(db), db.with_suffix(".seen")
        ends, wrong = [], []
        for fault in trial:
            ends.append(loader.run(command, fault))
            # On a copy: the next load shall find what this one has left, and not what was made of it by a look.
            wrong += wounds(copy(db, seen), newer_than=self._old_loads)
            wrong += self._judge(ends[-1], fault, copy(db, seen))
        last = loader.run(command)
        if last.status != self.status:
            wrong.append(f"ends with {last.status} and not {self.status} when run again: {last.told}")
        wrong += differences(state(db), self.state)
        return sum(end.status != self.status for end in ends), [f"{trial}: {what}" for what in wrong]

    def _judge(self, end: Outcome, fault: Fault, seen: Path) -> Iterator[str]:
        """A load that was disturbed is killed, or tells what is the matter, or comes to its end all the same."""
        if end.status == self.status:
            yield from differences(state(seen), self.state)
        elif end.status == 2 and fault.signal != signal.SIGKILL:
            if end.told or state(seen)["run"] != [("stopped", 1)]:
                yield f"is not stopped in order: {end.told}"
        elif end.status == 2:
            file = f"{re.escape(str(seen.with_suffix('.db')))}|{re.escape(str(self.scene.data))}/"
            if not re.fullmatch(f"foundation: ({file}).*: .*; .*\n", end.told):
                yield f"says no clear word: {end.told}"
        elif end.status != -signal.SIGKILL:
            yield f"ends with {end.status}: {end.told}"


def killed_at(call: Call) -> Fault:
    """A kill before this call; what lies on the disk is what all calls before it have written."""
    return Fault((f"{call.name}:signal=SIGKILL:when={call.number}",))


def failing_at(call: Call, error: str) -> Fault:
    """This call fails, and no other."""
    return Fault((f"{call.name}:error={error}:when={call.number}",))


def failing_from(call: Call, error: str, calls: Sequence[Call]) -> Fault:
    """This and all later ones of these calls fail."""
    first = {later.name: later.number for later in reversed(calls[calls.index(call) :])}
    return Fault(tuple(f"{name}:error={error}:when={number}+" for name, number in first.items()))


def read_trace(path: Path) -> list[Call]:
    """The calls in a file that strace wrote."""
    numbers: dict[str, Iterator[int]] = {}
    calls = []
    for line in path.read_text().splitlines():
        if found := re.match(r"[0-9]+ +(\w+)\((.*)", line):
            name, arguments = found.groups()
            number = next(numbers.setdefault(name, count(1)))
            calls.append(Call(name, number, _path(arguments), _is_commit(arguments)))
    return calls


def _path(arguments: str) -> str:
    found = re.match(r"[0-9]+<([^>]*)>", arguments) or re.search(r'"([^"]*)"', arguments)
    return found[1] if found else ""


def _is_commit(arguments: str) -> bool:
    """Whether this is the header of a frame of the log that tells how large the database is from then on."""
    found = re.match(r'[0-9]+<[^>]+-wal>, ("(?:[^"\\]|\\.)*"), 24,', arguments)
    return found is not None and any(ast.literal_eval("b" + found[1])[4:8])


# What must be true of a database


def query(db: Path, sql: str) -> list[Any]:
    """Rows of any SQL; of a single column its values."""
    with closing(sqlite3.connect(db)) as connection:
        return _query(connection, sql)


def _query(connection: sqlite3.Connection, sql: str) -> list[Any]:
    rows = connection.execute(sql).fetchall()
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows


def state(db: Path) -> dict[str, list[Any]]:
    """All that must not depend on what came between: content, rejects, counts, checks, tables and indexes."""
    found: dict[str, list[Any]] = {}
    with closing(sqlite3.connect(db)) as connection:
        for table in _query(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_*'"):
            columns = _query(connection, f"SELECT name FROM pragma_table_info('{table}') WHERE name <> '_load'")
            found[table] = _query(connection, f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1")
        return found | {name: _query(connection, sql) for name, sql in _STATE.items()}


# A file that is refused is refused by each load anew: only the last time counts.
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
            status = 'refused'
            AND load_id < (SELECT max(load_id) FROM _loads m WHERE m.source = l.source AND m.kind = 'file')
        ) ORDER BY source, kind, load_id
        """,
    "checks": "SELECT source, name, value FROM _stats WHERE kind = 'check' ORDER BY source, load_id, name",
    "schema": "SELECT type, name, sql FROM sqlite_schema ORDER BY name",
    "run": "SELECT status, finished IS NOT NULL FROM _runs ORDER BY rowid DESC LIMIT 1",
}


def differences(found: dict[str, list[Any]], wanted: dict[str, list[Any]]) -> Iterator[str]:
    """Where two states differ, with some rows that only one of them has."""
    for name in sorted(found.keys() | wanted.keys()):
        ours, theirs = found.get(name, []), wanted.get(name, [])
        if ours != theirs:
            more, less = list(set(ours) - set(theirs))[:2], list(set(theirs) - set(ours))[:2]
            yield f"{name}: {len(ours)} rows and not {len(theirs)}; too much: {more}; lacking: {less}"


def wounds(db: Path, *, newer_than: int = 0) -> Iterator[str]:
    """What is damaged or half done in a database on which a load has ended in any way."""
    if not db.exists():
        return
    with closing(sqlite3.connect(db)) as connection:
        if (checked := _query(connection, "PRAGMA integrity_check")) != ["ok"]:
            yield f"damaged: {checked}"
        if broken := _query(connection, "PRAGMA foreign_key_check"):
            yield f"rows without their parents: {broken}"
        tables = set(_query(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'"))
        if tables and not tables >= {"_runs", "_loads", "_chunks", "_rejects", "_errors", "_stats"}:
            yield f"the ledger is half made: {tables}"
        elif tables:
            yield from half_done(connection, newer_than=newer_than)


def half_done(connection: sqlite3.Connection, *, newer_than: int = 0) -> list[str]:
    """The loads whose counts are not those of their chunks, their rows and their rejects, all seen at one moment."""
    connection.execute("BEGIN")
    found = []
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
        if (read, stored, rejected) != (records, rows, rejects) or read != stored + rejected:
            found.append(f"half done: {source}: {(read, stored, rejected)} counted, {(records, rows, rejects)} there")
    connection.execute("COMMIT")
    return found


def broken_package(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of the package in which texts are replaced: each change is a file, its text, another text."""
    package = shutil.copytree(PACKAGE, folder / "foundation", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text, other in changes:
        whole = (package / name).read_text()
        assert whole.count(text) == 1, f"{name} has changed, it does not have once: {text}"
        (package / name).write_text(whole.replace(text, other))
    return package


if __name__ == "__main__":
    serve()
