"""Load a delivery on a Dask cluster into a folder of Parquet: the same reading, the same validation, side by side.

Each file is cut into ranges; what is found there becomes parts of whole records, which tasks read and validate into
files of rows and of rejects. What needs all rows, keys and references, is asked of Dask's joins over their columns
alone; parts in which they find something are written again without it. The manifest is written last: what it does not
name is not there.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, as_completed

from foundation.errors import Code, SchemaError, SourceError, StoreError
from foundation.lake.client import connect, packed, submit, translate_errors, unpacked
from foundation.lake.constraints import JOIN_SIZE, errors_by_part, find_rejected
from foundation.lake.manifest import (
    PartResult,
    address_of,
    complete_load,
    locked,
    parts_of,
    read_manifest,
    write_manifest,
)
from foundation.lake.partitions import count_rows, failed_columns, reject_file, reject_rows, validate_part
from foundation.lake.splits import Part, find, open_reader, settle
from foundation.pipeline import choose
from foundation.reader import PACKED, Position
from foundation.schema import Source, diagnose, in_order, left_out_warnings, paths_of
from foundation.store import (
    Load,
    LoadStatus,
    Progress,
    Run,
    file_error,
    new_run_id,
    now,
    require_conserved,
    run_status,
    versions,
)

__all__ = ["RANGE", "connect", "ingest", "prepare"]
RANGE = 64 * 2**20  # bytes of a file that one task reads
_COUNTED = 100  # files whose rows one task counts
# Which loads of the same source a load replaces, by its status: a refused file leaves the rows of the one before.
_REPLACED = {
    LoadStatus.COMPLETE: {LoadStatus.COMPLETE, LoadStatus.REFUSED, LoadStatus.SKIPPED},
    LoadStatus.REFUSED: {LoadStatus.REFUSED},
    LoadStatus.SKIPPED: {LoadStatus.REFUSED, LoadStatus.SKIPPED},
}


@dataclass
class _Job:
    """What stays the same for all files of a run, and what the folder holds by now."""

    client: Client
    out: str
    run: dict[str, Any]
    range_size: int
    join_size: int
    again: bool
    progress: Progress
    manifest: dict[str, Any]
    sources: Mapping[str, Source]


@dataclass
class _File:
    """A file on its way: its load, the ranges that are gone through, its parts, what comes of them."""

    source: Source
    load: Load
    refusal: SourceError | None = None
    first: Position = field(default_factory=lambda: Position(0, 0, 0))
    stops: Sequence[int] = ()
    ranges: Sequence[Future] = ()
    parts: Sequence[Part] = ()
    content: str = ""
    results: Sequence[Future] | None = None


def ingest(
    data: str | Path,
    out: str | Path,
    *,
    sources: Sequence[Source],
    client: Client | None = None,
    only: Iterable[str] = (),
    range_size: int = RANGE,
    join_size: int = JOIN_SIZE,
    again: bool = False,
    wait_s: float = 10,
    run_id: str | None = None,
    progress: Progress = lambda load, done, size: None,
) -> Run:
    """Load the files `<source>.csv` of *data* into the folder *out* of Parquet, on the cluster of *client*.

    Both may be addresses of fsspec that all workers reach. Without a *client* there is one for as long as it takes, of
    the cluster that is `shared`, or of one of this machine. Files are read in ranges of *range_size* bytes, keys and
    references joined in pieces of *join_size* records. A folder holds one delivery: a file that is there is skipped,
    or loaded anew if its source or what it refers to is another. What was cut off goes on where it stopped when the
    same is asked for again; with *again* all is done anew. Others who load there are waited for, *wait_s* seconds.

    Raises SourceError when *data* has none of the files, StoreError when *out* cannot be written or holds another
    delivery, SchemaError for a source that refers to itself, FoundationError when the cluster ends or a file changes.
    """
    if range_size < 1:
        raise ValueError(f"range_size must be at least 1, got {range_size}")
    chosen = _files_of(data, sources := in_order(sources), only)
    run = {"run_id": run_id or new_run_id(), "started": now(), "versions": versions(), "data": str(data)}
    with nullcontext(client) if client else connect("") as client, locked(out, wait_s) as out, translate_errors(client):
        by_name = {source.name: source for source in sources}
        job = _Job(client, out, run, range_size, join_size, again, progress, read_manifest(out), by_name)
        files = [_begin(job, source, address) for source, address in chosen]
        for file in files:
            if not file.refusal:
                _split(job, file)
        loads = [_finish(job, file) for file in files]  # parents before their children
    return Run(run["run_id"], run_status([load.status for load in loads]), tuple(loads))


def _files_of(data: str | Path, sources: Sequence[Source], only: Iterable[str]) -> list[tuple[Source, str]]:
    """The sources to be loaded, each with the path or the address of its one file."""
    if own := [s.name for s in sources if s.name in s.references.values()]:
        raise SchemaError(f"{own[0]} refers to itself, which no join can follow; load it into a database with --db")
    folder, is_local = address_of(data)
    chosen = choose(sources, only, Path(folder) if is_local else None)
    files: list[tuple[Source, str]] = []
    for source in chosen:
        first, *more = paths_of(source, Path(folder)) if is_local else [f"{folder}/{source.pattern}"]
        if more:
            raise SourceError(
                Code.NOT_FOUND,
                f"{folder}: {source.name} has {len(more) + 1} files, and a folder of Parquet takes one file of a "
                "source; load them into a database with --db",
            )
        files.append((source, str(first)))
    return files


def prepare(data: str | Path, out: str | Path, *, sources: Sequence[Source], only: Iterable[str] = ()) -> int:
    """How many loads the folder *out* has seen; one that is not there is made, so that it is known that it can be.

    Raises what `ingest` would raise, as far as it can be told before a file is read.
    """
    files = {source.name: Path(path) for source, path in _files_of(data, in_order(sources), only)}
    with locked(out, 10) as out:
        manifest = read_manifest(out)
        for load in (one for one in manifest["loads"] if one["status"] == LoadStatus.COMPLETE):
            file = files.get(load["source"], Path())
            if file.is_file() and file.suffix not in PACKED and file.stat().st_size != load["bytes"]:
                raise _another(out, load)
        if not manifest["loads"]:
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
    size = complete_load(job.manifest, source.name).get("range_size", job.range_size)
    if address.endswith(PACKED):  # what is in it can only be read from its start
        size = max(file.load.bytes, 1)
    starts = list(range(file.first.byte, file.load.bytes, size))
    file.stops = [*starts[1:], file.load.bytes][: len(starts)]
    file.ranges = [
        submit(job.client, find, source, address, start, stop, is_border=start == file.first.byte)
        for start, stop in zip(starts, file.stops, strict=True)
    ]
    return file


def _split(job: _Job, file: _File) -> None:
    """Settle the parts of a file, and have them validated unless it is known what came of them."""

    def again(byte: int, stop: int) -> Part:
        part: Part = submit(job.client, find, file.source, file.load.path, byte, stop, is_border=True).result()
        return part

    file.parts = list(settle(file.first, job.client.gather(file.ranges), file.stops, again))
    file.ranges = ()
    file.content = _digest(file.load.header, file.first, [part[1:] for part in file.parts])
    known = complete_load(job.manifest, file.source.name)
    if known and known["content"] != file.content:
        raise _another(job.out, known)
    if job.again or not known or known["fingerprint"] != file.source.fingerprint:
        _validate(job, file)


def _another(out: str, known: Mapping[str, Any]) -> StoreError:
    return StoreError(
        f"{out}: it holds {known['source']} of another delivery, {known['path']} as it was at {known['started']}; "
        "a folder of Parquet holds one delivery, name another folder"
    )


def _validate(job: _Job, file: _File) -> None:
    made_of = _digest(file.content, file.source.fingerprint)
    begin = partial(submit, job.client, validate_part, file.source, job.out, file.load.path, is_again=job.again)
    file.results = [begin(part, _name(part, made_of)) for part in file.parts]


def _name(part: Part, made_of: str) -> str:
    """The name of the files of a part: by its place, and by what they are made of."""
    return f"{part.start.byte:015d}-{made_of}"


def _finish(job: _Job, file: _File) -> Load:
    """Enter what came of a file whose parents are finished: a refusal, or rows with sound keys and references."""
    load, source, known = file.load, file.source, complete_load(job.manifest, file.source.name)
    if file.refusal:
        why = file_error(file.refusal)
        load.status, load.warnings = LoadStatus.REFUSED, [why.message]
        return _enter(job, file, rejects=[reject_file(job.out, source, why)])
    parents = [complete_load(job.manifest, parent).get("identity") for parent in source.references.values()]
    identity = _digest(file.content, source.fingerprint, parents)
    if file.results is None:
        if known["identity"] == identity:
            load.status, load.origin = LoadStatus.SKIPPED, known["load_id"]
            return _enter(job, file, identity=identity)
        _validate(job, file)
    done = file.first.byte
    for future in as_completed(file.results or ()):
        part = future.result().part
        done += part.end.byte - part.start.byte
        job.progress(load, done, load.bytes)
    results = _without_rejected(job, file, job.client.gather(list(file.results or ())), identity)
    load.read = file.parts[-1].end.record if file.parts else 0
    load.inserted, load.rejected = sum(one.stored for one in results), sum(one.rejected for one in results)
    load.peak_rss_bytes = max((one.rss_bytes for one in results), default=0)
    load.seconds = sum(one.seconds for one in results)
    rejects = [name for one in results for name in one.rejects]
    stored, rejected = (_count(job, names) for names in ([one.rows for one in results], rejects))
    require_conserved(load, read=load.read, stored=stored, rejected=rejected)
    load.warnings += diagnose(*failed_columns(results), load.read, source.dialect.encoding)
    load.status = LoadStatus.COMPLETE
    return _enter(job, file, results, identity=identity, rejects=rejects)


def _without_rejected(job: _Job, file: _File, results: list[PartResult], identity: str) -> list[PartResult]:
    """The parts without the records whose parents are not stored, or whose keys others have."""
    source = file.source
    parents = {c: (job.sources[p].key, parts_of(complete_load(job.manifest, p))) for c, p in source.references.items()}
    rejected = find_rejected(job.out, source, results, parents, size=job.join_size)
    everything = dask.delayed(results)  # a task, so that it is made again when its worker is killed
    tasks = [
        dask.delayed(_reject)(some, packed(source), job.out, file.load.path, everything, identity)
        for some in rejected.to_delayed()
    ]
    better = dict(pair for pairs in job.client.gather(job.client.compute(tasks)) for pair in pairs)
    return [better.get(number, one) for number, one in enumerate(results)]


def _reject(
    rejected: Any, sent: bytes, out: str, address: str, results: Sequence[PartResult], identity: str
) -> list[tuple[int, PartResult]]:
    """A task: write those parts again of which records are rejected."""
    source = unpacked(sent)
    return [
        (at, reject_rows(out, address, source, results[at], errors, _name(results[at].part, identity)))
        for at, errors in errors_by_part(source, rejected)
    ]


def _count(job: _Job, names: Sequence[str]) -> int:
    """How many rows these files hold, by their own account."""
    groups = [names[at : at + _COUNTED] for at in range(0, len(names), _COUNTED)]
    return sum(job.client.gather([job.client.submit(count_rows, job.out, group, pure=False) for group in groups]))


def _enter(
    job: _Job, file: _File, results: Sequence[PartResult] = (), *, identity: str = "", rejects: Sequence[str] = ()
) -> Load:
    """Put a load into the manifest, in place of those that it replaces, and take away the files that these left."""
    load, loads, run = file.load, job.manifest["loads"], job.run
    load.load_id = 1 + max((one["load_id"] for one in loads), default=0)
    load.origin = load.origin or load.load_id
    kept = [one for one in loads if one["source"] != load.source or one["status"] not in _REPLACED[load.status]]
    made = {"identity": identity, "content": file.content, "range_size": job.range_size}
    job.manifest["loads"] = [
        *kept, asdict(load) | made | {"parts": [asdict(one) for one in results], "rejects": list(rejects)},
    ]  # fmt: skip
    runs = {one["run_id"]: one for one in job.manifest["runs"]}
    began = runs.get(run["run_id"], run)["started"]  # the notebooks of a report share one run
    job.manifest["runs"] = list((runs | {run["run_id"]: run | {"started": began, "finished": now()}}).values())
    job.manifest["version"] += load.status != LoadStatus.SKIPPED
    write_manifest(job.out, job.manifest, file.source)
    return load


def _digest(*parts: Any) -> str:
    """Sixteen hexadecimal digits that name what something was made of."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
