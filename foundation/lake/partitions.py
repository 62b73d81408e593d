"""Parts of files, validated into Parquet files of rows and of rejects.

A file appears under its name when it is whole, and is named by what it was made from. So a task that is run twice, at
the same time or after a break, gives the same files, and one whose files are there has nothing to do.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import lru_cache
from itertools import islice
from operator import lt
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from foundation.errors import Code, Stage
from foundation.lake.manifest import PartResult, parts_of, whole_file
from foundation.lake.splits import CHUNK_SIZE, Part, read_part
from foundation.memory import Memory
from foundation.reader import Chunk, Damaged, Error, key_text
from foundation.schema import Column, Source, Verdict, judge
from foundation.store import plain_key

_ERROR = pa.struct([(name, pa.string()) for name in Error._fields])
_REJECTS = pa.schema(
    [
        *((name, pa.int64()) for name in ("record", "line", "last_line", "byte_start", "byte_end")),
        ("raw", pa.binary()), ("key", pa.string()), ("errors", pa.list_(_ERROR)),
    ]
)  # fmt: skip


def validate_part(
    source: Source, out: str, address: str, part: Part, name: str, *, is_again: bool = False
) -> PartResult:
    """Read and validate a part of a file into one file of rows and one of rejects, if they are not there."""
    rows, rejects = _names(source, name)
    if not is_again and (done := _result_in(f"{out}/{rows}")):
        return done
    began, memory, stored, rejected = time.perf_counter(), Memory(limit=2**63), 0, 0
    key_at = source.position(source.keys[0])
    ends: list[Any] | None = [] if len(source.keys) == 1 else None
    failed: dict[str, tuple[int, str]] = {}
    # Of the two files that of the rows appears last: where it is, all is.
    with (
        _Table(f"{out}/{rows}", _schema(source)) as valid,
        _Table(f"{out}/{rejects}", _REJECTS, needed=False) as invalid,
    ):
        for chunk in read_part(address, source, part):
            verdict = judge(source, chunk)
            valid.add(_columns(source, verdict))
            invalid.add(_rejects(source, chunk, verdict.rejected))
            _count_failed(failed, verdict.rejected)
            ends = _ends(ends, verdict.columns[key_at])
            stored, rejected = stored + len(verdict.records), rejected + len(verdict.rejected)
            memory.sample()
        result = PartResult(
            part, rows, stored, (rejects,) if rejected else (), rejected, failed, ends or None,
            time.perf_counter() - began, memory.peak, worker=f"{socket.gethostname()}:{os.getpid()}",
        )  # fmt: skip
        valid.tell(result)
    return result


def _names(source: Source, name: str) -> tuple[str, str]:
    """The files of a part of this name: of its rows, and of its rejects."""
    return f"{source.name}/{name}.parquet", f"_rejects/{source.name}/{name}.parquet"


def _result_in(address: str) -> PartResult | None:
    files, path = fsspec.url_to_fs(address)
    if not files.exists(path):
        return None
    with files.open(path, "rb") as file:
        return parts_of({"parts": [json.loads(parquet.read_metadata(file).metadata[b"foundation"])]})[0]


def _ends(ends: list[Any] | None, keys: Sequence[Any]) -> list[Any] | None:
    """The first and the last key of rows once *keys* follow; None when not each is greater than the one before."""
    if ends is None or not keys:
        return ends
    is_behind = not ends or ends[1] < keys[0]
    return [(ends or keys)[0], keys[-1]] if is_behind and all(map(lt, keys, islice(keys, 1, None))) else None


def reject_rows(
    out: str, address: str, source: Source, result: PartResult, errors: Mapping[int, list[Error]], name: str
) -> PartResult:
    """Take the rows of these records out of a part that was validated, and put them among its rejects."""
    rows, rejects = _names(source, name)
    lost: list[Damaged] = []
    with fsspec.open(f"{out}/{result.rows}", "rb") as file, _Table(f"{out}/{rows}", _schema(source)) as kept:
        for batch in parquet.ParquetFile(file).iter_batches(CHUNK_SIZE):
            is_out = pc.is_in(batch["_record"], pa.array(errors, pa.int64()))
            kept.add(batch.filter(pc.invert(is_out)))
            taken = batch.filter(is_out)
            keys = map(key_text, zip(*(taken[name].to_pylist() for name in source.keys), strict=True))
            for record, key in zip(taken["_record"].to_pylist(), keys, strict=True):
                reasons = [e._replace(value=key) if e.stage == Stage.KEY else e for e in errors[record]]
                lost.append(Damaged(record, reasons, key))
        with _Table(f"{out}/{rejects}", _REJECTS) as rejected:
            for chunk in read_part(address, source, result.part):
                here = [one for one in lost if chunk.start.record < one.record <= chunk.end.record]
                rejected.add(_rejects(source, chunk, here))
    return replace(
        result, rows=rows, stored=result.stored - len(errors),
        rejects=(*result.rejects, rejects), rejected=result.rejected + len(errors),
    )  # fmt: skip


def reject_file(out: str, source: Source, why: Error) -> str:
    """Put a file that is refused as a whole among the rejects, as one without a record."""
    _, rejects = _names(source, "file")
    with _Table(f"{out}/{rejects}", _REJECTS) as rejected:
        rejected.add(pa.RecordBatch.from_pylist([{"errors": [why._asdict()]}], _REJECTS))
    return rejects


def count_rows(out: str, names: Sequence[str]) -> int:
    """How many rows these files hold together."""
    rows = 0
    for name in names:
        with fsspec.open(f"{out}/{name}", "rb") as file:
            rows += parquet.read_metadata(file).num_rows
    return rows


class _Table(ExitStack):
    """A Parquet file that appears when it is closed, unless it is empty and not *needed*."""

    def __init__(self, address: str, schema: pa.Schema, *, needed: bool = True) -> None:
        super().__init__()
        self._address, self._schema = address, schema
        self._writer: Any = None
        if needed:
            self._open()

    def _open(self) -> None:
        file = self.enter_context(whole_file(self._address))
        self._writer = self.enter_context(parquet.ParquetWriter(file, self._schema))

    def add(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            if not self._writer:
                self._open()
            self._writer.write_batch(batch)

    def tell(self, result: PartResult) -> None:
        self._writer.add_key_value_metadata({"foundation": json.dumps(asdict(result))})


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
        bad = [(e.column, e.value) for e in one.errors if e.stage == Stage.SCHEMA and e.value and e.column]
        no_text = [e.value or "" for e in one.errors if e.code in (Code.INVALID_UTF8, Code.INVALID_ENCODING)]
        for column, value in [*bad, *([("", min(no_text))] if no_text else [])]:
            count, least = failed.get(column, (0, value))
            failed[column] = count + 1, min(least, value)


def failed_columns(results: Iterable[PartResult]) -> tuple[list[tuple[str, int, str]], tuple[int, str]]:
    """Columns with refused values, how many and the least of them; the same of records whose bytes are no text."""
    failed: dict[str, tuple[int, str]] = {}
    for column, (count, value) in (pair for result in results for pair in result.failed.items()):
        total, least = failed.get(column, (0, value))
        failed[column] = total + count, min(least, value)
    undecoded = failed.pop("", (0, ""))
    return [(column, *figures) for column, figures in sorted(failed.items())], undecoded
