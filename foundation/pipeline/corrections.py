"""Rejects out to a person and corrected records back: a CSV for a spreadsheet beside lossless JSON Lines."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from foundation.errors import StoreError, visible
from foundation.pipeline.revalidate import again, judge_again, release
from foundation.query.query import Database
from foundation.reader.csv_writer import guard, unguard, write_csv
from foundation.reader.dialect import COMMAS
from foundation.reader.reader import Chunk, Reader, reread
from foundation.reader.recovery import Error
from foundation.schema.source import Column, Source
from foundation.store.database import Store, now
from foundation.store.ledger import Load, read_load

REJECT_ID, REASONS, RAW = "_reject_id", "_reasons", "_raw"  # columns beside those of the source
_CHUNK = 1_000  # records held in memory at once


class Refusal(NamedTuple):
    """A correction that could not be taken back, and why."""

    source: str
    reject_id: int
    reason: str


class Repaired(NamedTuple):
    """What came of corrections: the loads that stored them, how many had been taken back before, what was refused."""

    loads: list[Load]
    already: int
    refused: list[Refusal]


def export_rejects(database: Database, out: Path, *, source: str | None = None, code: str | None = None) -> list[Path]:
    """Write the open rejects into the folder *out*: `<source>.csv` to correct, `<source>.jsonl` byte for byte.

    In the CSV each field that a spreadsheet might run or rewrite has an apostrophe before it, which may stay there
    or go. `_reasons` says what to correct; `_raw` shows a record of which the fields could not be told apart.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, declared in database.sources.items():
        if source in (None, name) and (first := next(_rejects(database, declared, code), None)):
            paths += _export_source(database, declared, code, out, first["_header"])
    return paths


def _export_source(
    database: Database, source: Source, code: str | None, out: Path, header: list[str]
) -> tuple[Path, Path]:
    table, lines = out / f"{source.name}.csv", out / f"{source.name}.jsonl"
    columns = [REJECT_ID, REASONS, *(c.header for c in source.columns), RAW]
    with ExitStack() as stack:
        file = stack.enter_context(table.open("w", encoding="utf-8", newline=""))
        lossless = stack.enter_context(lines.open("w", encoding="utf-8", newline=""))

        def rows() -> Iterator[list[Any]]:
            for reject in _rejects(database, source, code):
                fields, raw = _fields(source, reject), reject.pop("_raw")
                told = "; ".join(f"{e['column'] or 'record'}: {e['message']}" for e in reject["errors"])
                text = "" if fields else visible(raw.decode(source.dialect.encoding, "backslashreplace"), 30_000)
                yield [reject["reject_id"], told, *(fields or [""] * len(source.columns)), text]
                del reject["_header"]
                lossless.write(json.dumps(reject | {"raw_base64": base64.b64encode(raw).decode()}) + "\n")

        write_csv(file, columns, rows())
    return table, lines


def _rejects(database: Database, source: Source, code: str | None) -> Iterator[dict[str, Any]]:
    """The open rejects of a source with their places, bytes and errors, one after the other."""
    cursor = database.rows(
        """
        SELECT reject_id, r.source, r.path, record, line, last_line, byte_start, byte_end, raw, header,
               json_group_array(json_object('stage', stage, 'code', code, 'column', "column", 'value', value,
                                            'message', message))
        FROM _rejects r JOIN _errors e USING (reject_id) JOIN _loads l USING (load_id)
        WHERE r.source = ? AND r.status = 'open' AND record IS NOT NULL GROUP BY reject_id
        HAVING ? IS NULL OR max(code = ?)
        """,
        (source.name, code, code),
    )
    names = ("reject_id", "source", "path", "record", "line", "last_line", "byte_start", "byte_end")
    for *place, raw, header, errors in cursor:
        reject: dict[str, Any] = dict(zip(names, place, strict=True))
        yield reject | {"errors": json.loads(errors), "_raw": raw, "_header": json.loads(header)}


def _fields(source: Source, reject: dict[str, Any]) -> list[str] | None:
    """The fields as a spreadsheet may have them; None when the record could not be taken apart."""
    chunk = reread([(reject["record"], reject["_raw"], reject["_header"])], source.layout)
    if not chunk.rows:
        return None
    return [
        text if column.column_type.is_number and not text.startswith("'") else guard(text)
        for column, text in zip(source.columns, chunk.rows[0], strict=True)
    ]


def repair(store: Store, sources: Sequence[Source], data: Path, run_id: str) -> Repaired:
    """Take corrected exports back from the folder *data*: `<source>.csv` with their column `_reject_id`.

    A correction that holds is stored and its reject marked repaired, with what it was before and after; one that
    does not is refused with the reasons and its reject stays open. Doing it again changes nothing.
    """
    result = Repaired([], 0, [])
    for source in sources:
        path = data / source.file_name
        if path.is_file():
            loads, already, refused = _repair_source(store, source, path, run_id)
            loads += release(store, sources, run_id)
            result = Repaired(result.loads + loads, result.already + already, result.refused + refused)
    return result


def _repair_source(store: Store, source: Source, path: Path, run_id: str) -> Repaired:
    columns = (Column(REJECT_ID, REJECT_ID, int, required=True), *source.columns)
    marked = replace(source, columns=columns, dialect=COMMAS).layout  # that of the export
    result = Repaired([], 0, [])
    with Reader(path, marked) as reader:
        while chunk := reader.chunk(_CHUNK):
            for damaged in chunk.damaged:
                told = "; ".join(error.message for error in damaged.errors)
                result.refused.append(Refusal(source.name, 0, f"record {damaged.record} of {path.name}: {told}"))
            corrections = {}
            for number, *fields in chunk.rows:
                corrections[number] = [unguard(text) for text in fields]
            loads, already, refused = _take_back(store, source, corrections, path, run_id)
            result = Repaired(result.loads + loads, result.already + already, result.refused + refused)
    return result


def _take_back(store: Store, source: Source, corrections: dict[str, list[str]], path: Path, run_id: str) -> Repaired:
    """Take corrections back, by their reject's number as text, version by version of the files they came from."""
    result = Repaired([], 0, [])
    versions: dict[int, dict[int, tuple[int, list[str]]]] = {}  # origin → record → reject and fields
    for text, fields in corrections.items():
        number = int(text) if text.isascii() and text.isdigit() else 0
        found = store.execute(
            """
            SELECT origin, record, r.status, after, raw, header FROM _rejects r JOIN _loads USING (load_id)
            LEFT JOIN _repairs USING (reject_id) WHERE reject_id = ? AND r.source = ? AND record IS NOT NULL
            """,
            (number, source.name),
        ).fetchone()
        origin, record, status, after, raw, header = found or (0, 0, "unknown", None, b"", "[]")
        if status == "released":  # it was stored as it is: nothing is to be done unless it comes back with changes
            after = json.dumps(next(iter(reread([(record, raw, json.loads(header))], source.layout).rows), None))
        if status == "open":
            versions.setdefault(origin, {})[record] = (number, fields)
        elif status in ("repaired", "released") and after == json.dumps(fields):
            result = result._replace(already=result.already + 1)
        else:
            result.refused.append(Refusal(source.name, number, f"reject {visible(text, 40)} is {status}, not open"))
    for origin, rows in versions.items():
        load, refused = _store_version(store, source, read_load(store, origin), rows, path, run_id)
        result.refused.extend(refused)
        result.loads.extend([load] if load.read else [])
    return result


def _store_version(
    store: Store, source: Source, old: Load, rows: dict[int, tuple[int, list[str]]], path: Path, run_id: str
) -> tuple[Load, list[Refusal]]:
    numbers = {record: number for record, (number, _) in rows.items()}
    ordered = sorted(rows)
    chunk = Chunk.of_rows(ordered, [list(rows[record][1]) for record in ordered])
    with again(store, source, old, run_id, kind="repair") as (load, profile):
        refused = judge_again(store, source, chunk, load, profile, numbers, status="repaired")
        store.connection.executemany(
            "INSERT INTO _repairs VALUES (?, ?, ?, ?, ?)",
            [
                (numbers[record], load.load_id, str(path.absolute()), json.dumps(rows[record][1]), now())
                for record in ordered
                if record not in refused
            ],
        )
    return load, [Refusal(source.name, numbers[record], _told(errors)) for record, errors in refused.items()]


def _told(errors: list[Error]) -> str:
    return "; ".join(f"{error.column or 'record'}: {error.message}" for error in errors)


def require_folder(data: Path, sources: Sequence[Source]) -> None:
    """Raise StoreError when *data* is no folder with any corrected export."""
    wanted = ", ".join(source.file_name for source in sources)
    if not data.is_dir() or not any((data / source.file_name).is_file() for source in sources):
        raise StoreError(f"{data}: no folder with corrected exports; wanted is any of {wanted}")
