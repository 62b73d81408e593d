"""A folder of Parquet: parts of files judged into rows and rejects, and a manifest that names those that hold.

A file appears under its name when it is whole, and is named by what it was made from. So a task that is run twice, at
the same time or after a break, gives the same files, and one whose files are there has nothing to do.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import islice
from operator import lt
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from foundation.errors import FoundationError, StoreError
from foundation.lake.splits import Part, open_reader
from foundation.memory import Memory
from foundation.reader.reader import Chunk, Damaged, Position
from foundation.reader.recovery import Error
from foundation.schema.source import Column, Source
from foundation.schema.validator import Verdict, judge
from foundation.store.ledger import Load
from foundation.store.rejects import plain_key

MANIFEST = "_foundation.json"
_BATCH = 20_000  # records that are held at a time, and rows of a row group
_ERROR = pa.struct([(name, pa.string()) for name in Error._fields])
_REJECTS = pa.schema(
    [
        *((name, pa.int64()) for name in ("record", "line", "last_line", "byte_start", "byte_end")),
        ("raw", pa.binary()), ("key", pa.string()), ("errors", pa.list_(_ERROR)),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """What came of a part: files with the records in them, None where there are none, and columns with bad values.

    `failed` has for each column how many values were refused, and the least of them, under no name for records whose
    bytes are no text; `keys` are the first and the last
    key of the rows, if each is greater than the one before.
    """

    part: Part
    rows: str
    stored: int
    rejects: tuple[str, ...] = ()
    rejected: int = 0
    failed: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    keys: Sequence[Any] | None = None
    seconds: float = 0.0
    rss_bytes: int = 0
    worker: str = ""  # host and process


def exists(out: str) -> bool:
    """Whether there is a folder with a manifest at this path or address."""
    files, path = fsspec.url_to_fs(f"{out}/{MANIFEST}")
    return bool(files.exists(path))


def read_manifest(out: str) -> dict[str, Any]:
    """What the folder holds: its version, its runs and its loads, each with its files; nothing, if there is none."""
    if not exists(out):
        files, path = fsspec.url_to_fs(out)
        if files.isfile(path):
            raise StoreError(f"{out}: a file is there, and a folder of Parquet is wanted; name another place")
        return {"version": 0, "runs": [], "loads": []}
    with fsspec.open(f"{out}/{MANIFEST}", "rt", encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def write_manifest(out: str, manifest: dict[str, Any]) -> None:
    """Put a manifest in place of the one that is there, at once."""
    with _whole(f"{out}/{MANIFEST}") as file:
        file.write(json.dumps(manifest, default=_told).encode())


def _told(thing: Any) -> Any:
    return asdict(thing) if isinstance(thing, Load) else list(thing)


def parts_of(load: Mapping[str, Any]) -> list[Judged]:
    """What came of the parts of a load that a manifest has; of none, nothing."""
    found = []
    for told in load.get("parts", ()):
        start, end, digest = told["part"]
        part = Part(Position(*start), Position(*end), digest)
        found.append(Judged(**told | {"part": part, "rejects": tuple(told["rejects"])}))
    return found


def workers_of(out: str, loads: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each worker what it did for these loads of a manifest, by the names that people read.

    Parts that it judged, megabytes that it read, megabytes of the files that came of them, its seconds, and the most
    megabytes of resident memory that were seen in it.
    """
    (files, path), parts, written = fsspec.url_to_fs(out), list[Judged](), dict[str, int]()
    for load in loads:
        parts += parts_of(load)
        for folder in (f"{path}/{load['source']}", f"{path}/_rejects/{load['source']}"):
            written |= {name: told["size"] for name, told in files.find(folder, detail=True).items()}
    found = []
    for worker in sorted({part.worker for part in parts}):
        own = [part for part in parts if part.worker == worker]
        names = [name for one in own for name in (one.rows, *one.rejects)]
        found.append({
            "worker": worker, "parts": len(own),
            "MB read": sum(one.part.end.byte - one.part.start.byte for one in own) / 1e6,
            "MB written": sum(written.get(f"{path}/{name}", 0) for name in names) / 1e6,
            "seconds": sum(one.seconds for one in own), "peak MB": max(one.rss_bytes for one in own) / 1e6,
        })  # fmt: skip
    return found


@contextmanager
def _whole(address: str) -> Iterator[Any]:
    """A file to be written that appears when it is whole."""
    files, path = fsspec.url_to_fs(address)
    draft = f"{path}.{uuid4().hex}.tmp"
    try:
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with files.open(draft, "wb") as file:
            yield file
        files.mv(draft, path)
    except OSError as error:
        raise StoreError(f"{address}: {error}; name a folder that can be written, with room in it") from error


def clear(out: str, source: Source, kept: Sequence[str]) -> None:
    """Take away what earlier loads of a source have left, and loads that were cut off: all but the files *kept*."""
    files, path = fsspec.url_to_fs(out)
    there = set(files.glob(f"{path}/{source.name}/*")) | set(files.glob(f"{path}/_rejects/{source.name}/*"))
    if left := sorted(there - {f"{path}/{name}" for name in kept}):
        files.rm(left)


def judge_part(source: Source, out: str, address: str, part: Part, name: str, *, is_again: bool = False) -> Judged:
    """Read and judge a part of a file into one file of rows and one of rejects, if they are not there."""
    rows, rejects = f"{source.name}/{name}.parquet", f"_rejects/{source.name}/{name}.parquet"
    files, path = fsspec.url_to_fs(f"{out}/{rows}")
    if files.exists(path) and not is_again:
        with files.open(path, "rb") as file:
            return parts_of({"parts": [json.loads(parquet.read_metadata(file).metadata[b"foundation"])]})[0]
    began, memory, counts, keys = time.perf_counter(), Memory(limit=2**63), [0, 0], _Keys(source)
    failed: dict[str, tuple[int, str]] = {}
    # Of the two files that of the rows appears last: where it is, all is.
    with (
        _Table(f"{out}/{rows}", _schema(source)) as kept,
        _Table(f"{out}/{rejects}", _REJECTS, needed=False) as refused,
    ):
        for chunk in chunks(address, source, part):
            verdict = judge(source, chunk)
            kept.add(_columns(source, verdict))
            refused.add(_rejects(source, chunk, verdict.rejected))
            _count_failed(failed, verdict.rejected)
            keys.add(verdict.columns)
            counts[0] += len(verdict.records)
            counts[1] += len(verdict.rejected)
            memory.sample()
        seconds = time.perf_counter() - began
        made = (rejects,) if counts[1] else ()
        worker = f"{socket.gethostname()}:{os.getpid()}"
        judged = Judged(part, rows, counts[0], made, counts[1], failed, keys.ends, seconds, memory.peak, worker)
        kept.tell(judged)
    return judged


class _Keys:
    """Looks whether keys ascend, and remembers the first and the last of those that do."""

    def __init__(self, source: Source) -> None:
        self._at = source.position(source.keys[0])
        self._ascend = len(source.keys) == 1
        self._first: list[Any] = []
        self._last: Any = None

    @property
    def ends(self) -> list[Any] | None:
        return [*self._first, self._last] if self._ascend and self._first else None

    def add(self, columns: Sequence[Sequence[Any]]) -> None:
        if self._ascend and (keys := columns[self._at]):
            is_behind = not self._first or self._last < keys[0]
            self._ascend = is_behind and all(map(lt, keys, islice(keys, 1, None)))
            self._first, self._last = self._first or [keys[0]], keys[-1]


def chunks(address: str, source: Source, part: Part) -> Iterator[Chunk]:
    """The records of a part; raises FoundationError when the file is no longer what it was."""
    with open_reader(address, source) as reader:
        reader.go_to(part.start)
        while chunk := reader.chunk(_BATCH, stop=part.end.byte):
            yield chunk
        if (reader.at, reader.digest) != (part.end, part.digest):
            raise FoundationError(f"{address}: it has changed since the load began; run the same command again")


def refuse(
    out: str, address: str, source: Source, judged: Judged, errors: Mapping[int, list[Error]], name: str
) -> Judged:
    """Take the rows of these records out of a part that was judged, and put them among its rejects."""
    rows, rejects = f"{source.name}/{name}.parquet", f"_rejects/{source.name}/{name}.parquet"
    with fsspec.open(f"{out}/{judged.rows}", "rb") as file, _Table(f"{out}/{rows}", _schema(source)) as kept:
        numbers = pa.array(errors, pa.int64())
        keys: dict[int, tuple[Any, ...]] = {}
        for batch in parquet.ParquetFile(file).iter_batches(_BATCH):
            is_out = pc.is_in(batch["_record"], numbers)
            kept.add(batch.filter(pc.invert(is_out)))
            out_rows = batch.filter(is_out)
            found = zip(*(out_rows[key].to_pylist() for key in source.keys), strict=True)
            keys |= zip(out_rows["_record"].to_pylist(), found, strict=True)
        with _Table(f"{out}/{rejects}", _REJECTS) as refused:
            for chunk in chunks(address, source, judged.part):
                here = range(chunk.start.record + 1, chunk.end.record + 1)
                damaged = [
                    _damaged(record, errors[record], source.key_text(key if len(key) > 1 else key[0]))
                    for record, key in keys.items()
                    if record in here
                ]
                refused.add(_rejects(source, chunk, damaged))
    return replace(
        judged, rows=rows, stored=judged.stored - len(errors),
        rejects=(*judged.rejects, rejects), rejected=judged.rejected + len(errors),
    )  # fmt: skip


def _damaged(record: int, errors: Sequence[Error], key: str) -> Damaged:
    return Damaged(record, [e._replace(value=key) if e.stage == "key" else e for e in errors], key)


def refuse_file(out: str, source: Source, why: Error) -> str:
    """Put a file that is refused as a whole among the rejects, as one without a record."""
    rejects = f"_rejects/{source.name}/file.parquet"
    with _Table(f"{out}/{rejects}", _REJECTS) as refused:
        refused.add(pa.RecordBatch.from_pylist([{"errors": [why._asdict()]}], _REJECTS))
    return rejects


def count_rows(out: str, names: Sequence[str]) -> int:
    """How many rows these files hold together."""
    rows = 0
    for name in names:
        with fsspec.open(f"{out}/{name}", "rb") as file:
            rows += parquet.read_metadata(file).num_rows
    return rows


class _Table:
    """A Parquet file that appears when it is closed, unless it is empty and not *needed*."""

    def __init__(self, address: str, schema: pa.Schema, *, needed: bool = True) -> None:
        self._address, self._schema, self._is_needed = address, schema, needed
        self._file: Any = None
        self._writer: Any = None

    def __enter__(self) -> "_Table":
        if self._is_needed:
            self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error and self._file:
            self._file.__exit__(kind, error, trace)
        else:
            self.close()

    def add(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._open()
            self._writer.write_batch(batch)

    def tell(self, judged: Judged) -> None:
        self._writer.add_key_value_metadata({"foundation": json.dumps(asdict(judged))})

    def close(self) -> None:
        if self._file:
            self._writer.close()
            self._file.__exit__(None, None, None)
            self._file = None

    def _open(self) -> None:
        if not self._file:
            self._file = _whole(self._address)
            self._writer = parquet.ParquetWriter(self._file.__enter__(), self._schema)


@lru_cache(maxsize=64)
def _schema(source: Source) -> pa.Schema:
    fields = [pa.field(c.name, pa.type_for_alias(c.column_type.arrow), nullable=not c.required) for c in source.columns]
    return pa.schema([*fields, pa.field("_record", pa.int64(), nullable=False)])


def _columns(source: Source, verdict: Verdict) -> pa.RecordBatch:
    columns = [_array(column, values) for column, values in zip(source.columns, verdict.columns, strict=True)]
    return pa.record_batch([*columns, pa.array(verdict.records, pa.int64())], schema=_schema(source))


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    kind = pa.type_for_alias(column.column_type.arrow)
    if column.required:
        return pa.array(values, kind)
    if column.column_type.is_number:
        return pa.array([None if value == "" else value for value in values], kind)
    texts = pa.array(values, kind)
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _rejects(source: Source, chunk: Chunk, damaged: Sequence[Damaged]) -> pa.RecordBatch:
    found = []
    for one in damaged:
        place, raw = chunk.locate(one.record)
        told = {"raw": raw, "key": plain_key(source, one.key), "errors": [error._asdict() for error in one.errors]}
        found.append(place._asdict() | told)
    return pa.RecordBatch.from_pylist(found, _REJECTS)


def _count_failed(failed: dict[str, tuple[int, str]], damaged: Sequence[Damaged]) -> None:
    for one in damaged:
        bad = [(e.column, e.value) for e in one.errors if e.stage == "schema" and e.value and e.column]
        no_text = [e.value or "" for e in one.errors if e.code in ("invalid_utf8", "invalid_encoding")]
        for column, value in [*bad, *([("", min(no_text))] if no_text else [])]:
            count, least = failed.get(column, (0, value))
            failed[column] = count + 1, min(least, value)
