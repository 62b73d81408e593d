"""Open rejects out to a person: a CSV for a spreadsheet, to correct there, beside lossless JSON Lines."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundation.errors import visible
from foundation.query.engine import mappings
from foundation.query.query import Database
from foundation.reader import Error, guard, reread, write_csv
from foundation.schema import Source
from foundation.store import REJECT_ID, format_errors

_REASONS, _RAW = "_reasons", "_raw"  # columns beside those of the source
_MOST_SHOWN = 30_000  # characters of a record in one cell: a spreadsheet takes 32,767


def export_rejects(database: Database, out: Path, *, source: str | None = None, code: str | None = None) -> list[Path]:
    """Write the open rejects into the folder *out*: `<source>.csv` to correct, `<source>.jsonl` byte for byte.

    In the CSV each field that a spreadsheet might run or rewrite has an apostrophe before it, which may stay there
    or go. `_reasons` says what to correct; `_raw` shows a record of which the fields could not be told apart.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name, declared in database.sources.items():
        if source in (None, name) and next(_rejects(database, declared, code), None):
            paths += _export_source(database, declared, code, out)
    return paths


def _export_source(database: Database, source: Source, code: str | None, out: Path) -> list[Path]:
    table, lossless = out / f"{source.name}.csv", out / f"{source.name}.jsonl"
    with (
        table.open("w", encoding="utf-8", newline="") as rows,
        lossless.open("w", encoding="utf-8", newline="") as lines,
    ):

        def written() -> Iterator[list[Any]]:
            for reject, raw, header in _rejects(database, source, code):
                lines.write(json.dumps(reject | {"raw_base64": base64.b64encode(raw).decode()}) + "\n")
                yield _row(source, reject, raw, header)

        write_csv(rows, [REJECT_ID, _REASONS, *(c.header for c in source.columns), _RAW], written())
    return [table, lossless]


def _rejects(database: Database, source: Source, code: str | None) -> Iterator[tuple[dict[str, Any], bytes, list[str]]]:
    """The open rejects of a source with their location and errors, each with its bytes and the header of its file."""
    cursor = database.rows(
        """
        SELECT reject_id, r.source, r.path, record, line, last_line, byte_start, byte_end, raw, header,
               json_group_array(json_object('stage', stage, 'code', code, 'column', "column", 'value', value,
                                            'message', message)) AS errors
        FROM _rejects r JOIN _errors e USING (reject_id) JOIN _loads l USING (load_id)
        WHERE r.source = ? AND r.status = 'open' AND record IS NOT NULL GROUP BY reject_id
        HAVING ? IS NULL OR max(code = ?)
        """,
        (source.name, code, code),
    )
    for reject in mappings(cursor):
        raw, header = reject.pop("raw"), json.loads(reject.pop("header"))
        yield reject | {"errors": json.loads(reject["errors"])}, raw, header


def _row(source: Source, reject: dict[str, Any], raw: bytes, header: list[str]) -> list[Any]:
    reasons = format_errors(Error(**error) for error in reject["errors"])
    (*rows,) = reread([(reject["record"], raw, header)], source.layout).rows
    if not rows:  # it could not be taken apart
        text = visible(raw.decode(source.dialect.encoding, "backslashreplace"), _MOST_SHOWN)
        return [reject["reject_id"], reasons, *[""] * len(source.columns), text]
    fields = [
        text if column.column_type.is_number and not text.startswith("'") else guard(text)
        for column, text in zip(source.columns, rows[0], strict=True)
    ]
    return [reject["reject_id"], reasons, *fields, ""]
