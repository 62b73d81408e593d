"""Load a delivery on a Dask cluster into a folder of Parquet: the same read, the same judgement, side by side.

Each file is cut into ranges; what is found there becomes parts of whole records, which tasks read and judge into files
of rows and of rejects. What needs all rows, keys and references, is asked of Dask's joins over their columns alone;
parts in which they find something are written again without it. The manifest is written last: what it does not name
is not there.
"""

import hashlib
import json
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import fsspec
from distributed import Client, Future, as_completed
from fsspec.implementations.local import LocalFileSystem

from foundation.errors import SchemaError, SourceError, StoreError
from foundation.lake.client import connect, told
from foundation.lake.constraints import reasons, refused
from foundation.lake.partitions import (
    Judged,
    clear,
    count_rows,
    exists,
    judge_part,
    parts_of,
    read_manifest,
    refuse,
    refuse_file,
    write_manifest,
)
from foundation.lake.splits import Part, find, open_reader, settle
from foundation.pipeline.load import Progress, Run, choose
from foundation.reader.compression import PACKED
from foundation.reader.reader import Position
from foundation.schema.diagnosis import diagnose
from foundation.schema.files import left_out_warnings, paths_of
from foundation.schema.source import Source, in_order
from foundation.store.counts import require_conserved
from foundation.store.database import now
from foundation.store.ledger import Load, new_run_id, versions
from foundation.store.lock import write_lock
from foundation.store.rejects import file_error

__all__ = ["RANGE", "connect", "ingest", "prepare"]
RANGE = 64 * 2**20  # bytes of a file that one task reads
_COUNTED = 100  # files whose rows one task counts
# What a load of the same source, by its status, leaves no room for: a refused file leaves the rows of the one before.
_VOID = {
    "complete": {"complete", "refused", "skipped"},
    "refused": {"refused"},
    "skipped": {"refused", "skipped"},
}


@dataclass
class _Job:
    """What stays the same for all files of a run, and what the folder holds by now."""

    client: Client
    out: str
    run: dict[str, Any]
    range_size: int
    again: bool
    progress: Progress
    manifest: dict[str, Any]

    def known(self, source: str) -> dict[str, Any]:
        """The complete load of a source that the folder holds, or nothing."""
        loads = self.manifest["loads"]
        return next((one for one in loads if (one["source"], one["status"]) == (source, "complete")), {})


@dataclass
class _File:
    """A file on its way: its load, the ranges that are gone through, its parts, what is made of them."""

    source: Source
    load: Load
    refusal: SourceError | None = None
    first: Position = field(default_factory=lambda: Position(0, 0, 0))
    stops: Sequence[int] = ()
    found: Sequence[Future] = ()
    parts: Sequence[Part] = ()
    content: str = ""
    judged: Sequence[Future] | None = None


def ingest(
    data: str | Path,
    out: str | Path,
    *,
    client: Client | None = None,
    sources: Sequence[Source],
    only: Iterable[str] = (),
    range_size: int = RANGE,
    again: bool = False,
    wait_s: float = 10,
    run_id: str | None = None,
    progress: Progress = lambda load, done, size: None,
) -> Run:
    """Load the files `<source>.csv` of *data* into the folder *out* of Parquet, on the cluster of *client*.

    Both may be addresses of fsspec that all workers reach. Without a *client* there is one for as long as it takes, of
    the cluster that is `shared`, or of one of this machine. Files are read in ranges of *range_size* bytes. A folder
    holds one delivery: a file that is there is skipped, or loaded anew if its source or what it refers to is another.
    What was cut off goes on where it stopped when the same is asked for again; with *again* all is done anew. While
    another process loads into a folder at a path, at most *wait_s* seconds are waited.

    Raises SourceError when *data* has none of the files, StoreError when *out* cannot be written or holds another
    delivery, SchemaError for a source that refers to itself, FoundationError when the cluster ends or a file changes.
    """
    if range_size < 1:
        raise ValueError(f"range_size must be at least 1, got {range_size}")
    sources = in_order(sources)
    chosen = _files_of(data, sources, only)
    out, is_ours = _address(out)
    run = {"run_id": run_id or new_run_id(), "started": now(), "versions": versions(), "data": str(data)}
    asked = nullcontext(client) if client else connect("")
    with asked as client, write_lock(Path(out), wait_s=wait_s) if is_ours else nullcontext(), told(client):
        job = _Job(client, out, run, range_size, again, progress, read_manifest(out))
        files = [_begin(job, source, address) for source, address in chosen]
        for file in files:
            _settle(job, file)
        loads = [_finish(job, file, {s.name: s for s in sources}) for file in files]
    status = "refused" if "refused" in {load.status for load in loads} else "complete"
    return Run(run["run_id"], status, tuple(loads))


def _address(place: str | Path) -> tuple[str, bool]:
    """A path or an address as all workers understand it, and whether it is a path."""
    files, path = fsspec.url_to_fs(str(place))
    is_local = isinstance(files, LocalFileSystem)
    return (path if is_local else str(place)).rstrip("/"), is_local


def _files_of(data: str | Path, sources: Sequence[Source], only: Iterable[str]) -> list[tuple[Source, str]]:
    """The sources to be loaded, each with the path or the address of its one file."""
    if own := [s.name for s in sources if s.name in s.references.values()]:
        raise SchemaError(f"{own[0]} refers to itself, which no join can follow; load it into a database with --db")
    folder, is_local = _address(data)
    chosen = choose(sources, only, Path(folder) if is_local else None)
    return [(s, _only_file(s, Path(folder)) if is_local else f"{folder}/{s.pattern}") for s in chosen]


def _only_file(source: Source, folder: Path) -> str:
    first, *more = paths_of(source, folder)
    if more:
        raise SourceError(
            "not_found",
            f"{folder}: {source.name} has {len(more) + 1} files, and a folder of Parquet takes one file of a source; "
            "load them into a database with --db",
        )
    return str(first)


def prepare(data: str | Path, out: str | Path, *, sources: Sequence[Source], only: Iterable[str] = ()) -> int:
    """How many loads the folder *out* has seen; one that is not there is made, so that it is known that it can be.

    Raises what `ingest` would raise, as far as it can be told before a file is read.
    """
    files = {source.name: Path(path) for source, path in _files_of(data, in_order(sources), only)}
    out, is_ours = _address(out)
    with write_lock(Path(out), wait_s=10) if is_ours else nullcontext():
        manifest = read_manifest(out)
        for load in (one for one in manifest["loads"] if one["status"] == "complete"):
            file = files.get(load["source"], Path())
            if file.is_file() and file.suffix not in PACKED and file.stat().st_size != load["bytes"]:
                raise _another(out, load)
        if not exists(out):
            write_manifest(out, manifest)
    return len(manifest["loads"])


def _begin(job: _Job, source: Source, address: str) -> _File:
    """Look at the header of a file, and have its ranges gone through."""
    file = _File(source, Load(source.name, address, 0, source.fingerprint, job.run["run_id"]))
    try:
        with open_reader(address, source) as reader:
            file.first, file.load.bytes = reader.at, reader.size
            file.load.header, file.load.warnings = reader.header, reader.warnings
            if "://" not in address:
                file.load.warnings += left_out_warnings(Path(address))
    except SourceError as refusal:
        file.refusal = refusal
        return file
    size = job.known(source.name).get("range_size", job.range_size)
    if address.endswith(PACKED):  # what is in it can only be read from its start
        size = max(file.load.bytes, 1)
    starts = list(range(file.first.byte, file.load.bytes, size))
    file.stops = [*starts[1:], file.load.bytes][: len(starts)]
    file.found = [
        _submit(job, find, source, address, start, stop, is_border=start == file.first.byte)
        for start, stop in zip(starts, file.stops, strict=True)
    ]
    return file


def _settle(job: _Job, file: _File) -> None:
    """Settle the parts of a file, and have them judged unless they are known."""
    if file.refusal:
        return

    def again(byte: int, stop: int) -> Part:
        found: Part = _submit(job, find, file.source, file.load.path, byte, stop, is_border=True).result()
        return found

    file.parts = settle(file.first, job.client.gather(file.found), file.stops, again)
    file.found = ()
    file.content = _digest(file.load.header, file.first, [part[1:] for part in file.parts])
    known = job.known(file.source.name)
    if known and known["content"] != file.content:
        raise _another(job.out, known)
    if job.again or not known or known["fingerprint"] != file.source.fingerprint:
        _judge(job, file)


def _another(out: str, known: Mapping[str, Any]) -> StoreError:
    return StoreError(
        f"{out}: it holds {known['source']} of another delivery, {known['path']} as it was at {known['started']}; "
        "a folder of Parquet holds one delivery, name another folder"
    )


def _judge(job: _Job, file: _File) -> None:
    made_of = _digest(file.content, file.source.fingerprint)
    file.judged = [
        _submit(
            job, judge_part, file.source, job.out, file.load.path, part,
            f"{part.start.byte:015d}-{made_of}", is_again=job.again,
        )
        for part in file.parts
    ]  # fmt: skip


def _finish(job: _Job, file: _File, sources: Mapping[str, Source]) -> Load:
    """Check keys and references of a file whose parents are finished, and enter what came of it."""
    load, source = file.load, file.source
    if file.refusal:
        why = file_error(file.refusal)
        load.status, load.warnings = "refused", [why.message]
        _enter(job, file, [], identity="", rejects=[refuse_file(job.out, source, why)])
        return load
    parents = [job.known(parent).get("identity") for parent in source.references.values()]
    identity = _digest(file.content, source.fingerprint, parents)
    if file.judged is None and job.known(source.name)["identity"] == identity:
        load.status, load.origin = "skipped", job.known(source.name)["load_id"]
        _enter(job, file, [], identity=identity, rejects=[])
        return load
    if file.judged is None:
        _judge(job, file)
    judged = _checked(job, file, _gathered(job, file), identity, sources)
    load.read = file.parts[-1].end.record if file.parts else 0
    load.inserted, load.rejected = sum(one.stored for one in judged), sum(one.rejected for one in judged)
    load.peak_rss_bytes = max((one.rss_bytes for one in judged), default=0)
    _require_conserved(job, load, judged)
    load.warnings += _failed_columns(source, load, judged)
    load.status, load.seconds = "complete", sum(one.seconds for one in judged)
    _enter(job, file, judged, identity=identity, rejects=[name for one in judged for name in one.rejects])
    return load


def _gathered(job: _Job, file: _File) -> list[Judged]:
    done = 0
    for future in as_completed(file.judged or ()):
        part = future.result().part
        done += part.end.byte - part.start.byte
        job.progress(file.load, file.first.byte + done, file.load.bytes)
    return list(job.client.gather(list(file.judged or ())))


def _checked(
    job: _Job, file: _File, judged: list[Judged], identity: str, sources: Mapping[str, Source]
) -> list[Judged]:
    """The parts without the records whose parents are not stored, or whose keys others have."""
    source = file.source
    parents = {
        column: (sources[parent].key, parts_of(job.known(parent))) for column, parent in source.references.items()
    }
    found = refused(job.out, source, judged, parents)
    everything = dask.delayed(judged)  # a task, so that it is made again when its worker is killed
    tasks = [
        dask.delayed(_refuse)(some, _packed(source), job.out, file.load.path, everything, identity)
        for some in found.to_delayed()
    ]
    better = dict(pair for pairs in job.client.gather(job.client.compute(tasks)) for pair in pairs)
    return [better.get(at, one) for at, one in enumerate(judged)]


def _refuse(
    found: Any, packed: bytes, out: str, address: str, judged: Sequence[Judged], identity: str
) -> list[tuple[int, Judged]]:
    """A task: write those parts again of which records are refused."""
    source = _unpacked(packed)
    return [
        (at, refuse(out, address, source, judged[at], errors, f"{judged[at].part.start.byte:015d}-{identity}"))
        for at, errors in reasons(source, found)
    ]


def _require_conserved(job: _Job, load: Load, judged: Sequence[Judged]) -> None:
    """Count what the files hold: every record that was read is in one of them."""
    counts = [
        sum(job.client.gather([
            job.client.submit(count_rows, job.out, names[at : at + _COUNTED], pure=False)
            for at in range(0, len(names), _COUNTED)
        ]))
        for names in ([one.rows for one in judged], [name for one in judged for name in one.rejects])
    ]  # fmt: skip
    require_conserved(load, read=load.read, stored=counts[0], rejected=counts[1])


def _failed_columns(source: Source, load: Load, judged: Sequence[Judged]) -> list[str]:
    """Sentences on columns in which nine tenths of the records are refused, and on bytes that are no text."""
    failed, least = Counter[str](), dict[str, str]()
    for column, (count, value) in (pair for one in judged for pair in one.failed.items()):
        failed[column] += count
        least[column] = min(value, least.get(column, value))
    undecoded = failed.pop("", 0), least.pop("", "")
    columns = [(column, count, least[column]) for column, count in sorted(failed.items())]
    return diagnose(columns, undecoded, load.read, source.dialect.encoding)


def _enter(job: _Job, file: _File, judged: Sequence[Judged], *, identity: str, rejects: Sequence[str]) -> None:
    """Put a load into the manifest, in place of those that it makes void, and take away the files that these left."""
    load, loads = file.load, job.manifest["loads"]
    load.load_id = 1 + max((one["load_id"] for one in loads), default=0)
    load.origin = load.origin or load.load_id
    kept = [one for one in loads if one["source"] != load.source or one["status"] not in _VOID[load.status]]
    more = {"identity": identity, "content": file.content, "range_size": job.range_size}
    told = asdict(load) | more | {"parts": [asdict(one) for one in judged], "rejects": list(rejects)}
    job.manifest["loads"] = [*kept, told]
    runs = {one["run_id"]: one for one in job.manifest["runs"]}
    began = runs.get(job.run["run_id"], job.run)["started"]  # the notebooks of a report share one run
    job.manifest["runs"] = list((runs | {job.run["run_id"]: job.run | {"started": began, "finished": now()}}).values())
    job.manifest["version"] += load.status != "skipped"
    write_manifest(job.out, job.manifest)
    held = [one for one in job.manifest["loads"] if one["source"] == load.source]
    clear(
        job.out, file.source,
        [name for one in held for name in (*one["rejects"], *(part["rows"] for part in one["parts"]))],
    )  # fmt: skip


def _digest(*told: Any) -> str:
    """Sixteen hexadecimal digits that name what something was made of."""
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _submit(job: _Job, act: Any, source: Source, *given: Any, **more: Any) -> Future:
    """Have a worker call *act*, with the source at its place."""
    return job.client.submit(_act, act, _packed(source), given, more, pure=False)


def _act(act: Any, packed: bytes, given: Sequence[Any], more: Mapping[str, Any]) -> Any:
    return act(_unpacked(packed), *given, **more)


@lru_cache(maxsize=64)
def _packed(source: Source) -> bytes:
    packed: bytes = cloudpickle.dumps(source)
    return packed


@lru_cache(maxsize=64)
def _unpacked(packed: bytes) -> Source:
    """The same source each time: what was built for judging it is kept."""
    source: Source = pickle.loads(packed)  # noqa: S301  # of our own making
    return source
