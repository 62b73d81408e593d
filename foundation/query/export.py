"""A database as open files: each table as CSV, JSON Lines or Parquet, and a Data Package that describes them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from foundation.errors import FoundationError, QueryError
from foundation.query.query import Database
from foundation.reader import write_csv
from foundation.schema import Column, Row, Source

_CHUNK = 20_000  # rows that are held at a time, and in a row group of Parquet
_MEDIA = {"csv": "text/csv", "jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}
_BOUNDS = {"ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength"}


class Exported(NamedTuple):
    """A file that was written."""

    source: Source
    path: Path
    rows: int
    bytes: int
    sha256: str


def export(database: Database, out: Path, *, form: str, only: Sequence[str] = ()) -> list[Exported]:
    """Write the tables that *only* names, all by default, into the folder *out*: *form* is csv, jsonl or parquet.

    All files show one state of the database, rows in the order of their keys; `datapackage.json`, a Frictionless Data
    Package (specs.frictionlessdata.io), describes them. A file of the same name is replaced when its new content is
    whole. One chunk of rows is held.

    Raises QueryError for a table that is not there or not declared, FoundationError when pyarrow is missing or *out*
    cannot be written.
    """
    for name in only:
        database[name]  # an unknown table is told here
    if undeclared := [name for name in only or database if name not in database.sources]:
        raise QueryError(f"no source declares the table {undeclared[0]}; name the file of its class with --sources")
    sources = [database.sources[name] for name in only or database]
    write = {"csv": _write_csv, "jsonl": _write_jsonl, "parquet": _write_parquet}[form]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with database.snapshot():
            files = [_write(database, source, out / f"{source.name}.{form}", write) for source in sources]
        keys = {source.name: source.key for source in sources}
        resources = [_resource(file, keys) for file in files]
        package = {"profile": "tabular-data-package", "name": "foundation", "resources": resources}
        told = json.dumps(package, indent=2, ensure_ascii=False)
        (out / "datapackage.json").write_text(f"{told}\n", "utf-8")
    except OSError as error:
        raise FoundationError(f"{out}: {error.strerror}; name a folder that can be written") from error
    return files


def _write(database: Database, source: Source, path: Path, write: Callable[..., None]) -> Exported:
    part, count = path.with_name(f"{path.name}.part"), 0

    def chunks() -> Iterator[list[Row]]:
        nonlocal count
        for chunk in database[source.name].stream(_CHUNK):
            count += len(chunk)
            yield [tuple(record.values()) for record in chunk]

    write(part, source.columns, chunks())
    with part.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    part.replace(path)
    return Exported(source, path, count, path.stat().st_size, sha256)


def _write_csv(path: Path, columns: Sequence[Column], chunks: Iterable[list[Row]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(file, [c.name for c in columns], (row for chunk in chunks for row in chunk), is_guarded=False)


def _write_jsonl(path: Path, columns: Sequence[Column], chunks: Iterable[list[Row]]) -> None:
    names = [c.name for c in columns]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for chunk in chunks:
            file.writelines(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in chunk)


def _write_parquet(path: Path, columns: Sequence[Column], chunks: Iterable[list[Row]]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise FoundationError(
            "Parquet is written by the package pyarrow, which is not here: pip install 'foundation[export]', "
            "or choose --format csv or jsonl"
        ) from error
    types = [pa.type_for_alias(c.column_type.exported) for c in columns]
    schema = pa.schema([pa.field(c.name, t, nullable=not c.required) for c, t in zip(columns, types, strict=True)])
    with parquet.ParquetWriter(path, schema) as writer:
        for chunk in chunks:
            stored = zip(columns, zip(*chunk, strict=True), types, strict=True)
            arrays = [pa.array(values, pa.type_for_alias(c.column_type.arrow)).cast(t) for c, values, t in stored]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _resource(file: Exported, keys: Mapping[str, str]) -> dict[str, Any]:
    """A file as the Frictionless Data Package describes it, with a Table Schema."""
    form = file.path.suffix[1:]
    text = {"encoding": "utf-8", "bytes": file.bytes, "hash": f"sha256:{file.sha256}"}  # frictionless: not of Parquet
    return {
        "name": file.source.name.lower(),
        "path": file.path.name,
        "description": file.source.description,
        "profile": "tabular-data-resource",
        "format": form,
        "mediatype": _MEDIA[form],
        **(text if form != "parquet" else {}),
        "schema": _schema(file.source, keys, is_text=form != "parquet"),
    }


def _schema(source: Source, keys: Mapping[str, str], *, is_text: bool) -> dict[str, Any]:
    """The Table Schema of a source; of its references those to tables of the package, whose *keys* these are."""
    references = []
    for column, parent in source.references.items():
        if parent in keys:
            referred = {"resource": "" if parent == source.name else parent.lower(), "fields": keys[parent]}
            references.append({"fields": column, "reference": referred})
    return {
        "fields": [_field(column, is_text=is_text) for column in source.columns],
        "missingValues": [""],
        "primaryKey": source.key if len(source.keys) == 1 else list(source.keys),
        **({"foreignKeys": references} if references else {}),
    }


def _field(column: Column, *, is_text: bool) -> dict[str, Any]:
    """A column; of its constraints those that a Table Schema has, too."""
    limits: dict[str, Any] = {"required": True} if column.required else {}
    if column.vocabulary:
        limits["enum"] = list(column.vocabulary)
    for constraint in column.constraints:
        bounds = {told: getattr(constraint, name, None) for name, told in _BOUNDS.items()}
        limits |= {told: str(v) if isinstance(v, date) else v for told, v in bounds.items() if v is not None}
        if column.kind is int and (above := getattr(constraint, "gt", None)) is not None:
            limits["minimum"] = above + 1
        if column.kind is int and (below := getattr(constraint, "lt", None)) is not None:
            limits["maximum"] = below - 1
    told = {"name": column.name, "type": column.column_type.table_schema}
    if column.kind is datetime and is_text:
        told["format"] = "%Y-%m-%d %H:%M:%S"
    if column.description:
        told["description"] = column.description
    return {**told, "constraints": limits} if limits else {**told}
