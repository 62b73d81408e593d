"""Sweeps of crashes: a load is disturbed at many system calls and moments in turn, and then run again."""

import ast
import re
import shutil
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from tests.support.injection import PACKAGE, Fault, Loader, Outcome
from tests.support.inspection import differences, query, state, wounds


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


def broken_package(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """A copy of the package in which texts are replaced: each change is a file, its text, another text."""
    package = shutil.copytree(PACKAGE, folder / "foundation", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text, other in changes:
        whole = (package / name).read_text()
        assert whole.count(text) == 1, f"{name} has changed, it does not have once: {text}"
        (package / name).write_text(whole.replace(text, other))
    return package
