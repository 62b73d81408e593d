"""What a folder of Parquet holds, as tables and views of DuckDB that answer what is asked of a database in SQL.

Rows, rejects and their reasons are views over the files that the manifest names; what it knows of runs, loads and parts
fills the tables of the ledger. Checks are counted when somebody asks, for nothing can have changed since the load.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from foundation.schema import Source
from foundation.store import EXAMPLES, Load, LoadStatus, RunStatus, checks_digest, quote

Statement = tuple[str, Sequence[Any]]
_PLACE = ("record", "line", "last_line", "byte_start", "byte_end", "raw")
_NUMBERS: dict[Any, str] = {int: "BIGINT", float: "DOUBLE"}
# The tables of the ledger that are no views: what lists and mappings are is JSON there, as in a database.
_LEDGER = {
    "_runs": dict.fromkeys(("run_id", "started", "finished", "status", "options", "versions"), "VARCHAR"),
    "_loads": {field.name: _NUMBERS.get(field.type, "VARCHAR") for field in fields(Load)},
    "_chunks": {
        **dict.fromkeys(("chunk_id", "load_id", "records", "bytes"), "BIGINT"), "seconds": "DOUBLE",
        **dict.fromkeys(("rss_bytes", "record_end", "line_end", "byte_end"), "BIGINT"), "digest": "VARCHAR",
    },
    "_repairs": {
        "reject_id": "BIGINT", "load_id": "BIGINT", **dict.fromkeys(("path", "after", "repaired"), "VARCHAR"),
    },
}  # fmt: skip


def statements(
    address: str, manifest: Mapping[str, Any], sources: Iterable[Source], *, only: Mapping[str, int]
) -> Iterator[Statement]:
    """What is to be run, in order, each with the values bound to it.

    Of the sources in *only* the rows of one part are seen, the one with that number.
    """
    loads = manifest["loads"]
    rows: dict[str, list[dict[str, Any]]] = {
        "_runs": [
            {**run, "status": RunStatus.COMPLETE, "options": json.dumps({"data": run["data"]})}
            for run in manifest["runs"]
        ],
        "_loads": [load | {name: json.dumps(load[name]) for name in ("header", "warnings")} for load in loads],
        "_chunks": list(_chunks(loads)),
        "_repairs": [],
    }
    for table, types in _LEDGER.items():  # in one go: one by one the parts of a large folder would take minutes
        told = f"SELECT unnest(from_json(?, '[{json.dumps(types)}]'), recursive := true)"
        yield f"CREATE TABLE {table} AS {told}", [json.dumps(rows[table])]
    yield from ((sql, ()) for sql in _rejects(address, loads))
    complete = {load["source"]: load for load in loads if load["status"] == LoadStatus.COMPLETE}
    stats = list[str]()
    for source in sources:
        load = complete.get(source.name, {"load_id": 0, "parts": []})
        parts = [part["rows"] for part in load["parts"]]
        shown = parts if source.name not in only else [parts[only[source.name]]]
        yield _rows(address, source, load["load_id"], shown), ()
        stats += _stats(source, load["load_id"]) if source.name in complete else ()
    yield f"CREATE VIEW _stats AS {' UNION ALL '.join(stats) or _NO_STATS}", ()


def _chunks(loads: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A chunk for each part, in the order of the file."""
    parts = ((load["load_id"], part) for load in loads for part in load["parts"])
    for number, (load_id, part) in enumerate(parts, 1):
        start, end, digest = part["part"]
        yield {
            "chunk_id": number, "load_id": load_id, "records": end[0] - start[0], "bytes": end[2] - start[2],
            "seconds": part["seconds"], "rss_bytes": part["rss_bytes"],
            "record_end": end[0], "line_end": end[1], "byte_end": end[2], "digest": digest,
        }  # fmt: skip


def _rejects(address: str, loads: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    told = [
        _REJECTS.format(load["load_id"], _text(load["source"]), _text(load["path"]), _listed(address, load["rejects"]))
        for load in loads
        if load["rejects"]
    ]
    every = " UNION ALL ".join(told) or _NO_REJECTS
    yield f"CREATE VIEW _kept AS SELECT row_number() OVER (ORDER BY load_id, record) AS reject_id, * FROM ({every})"
    yield "CREATE VIEW _rejects AS SELECT * EXCLUDE (errors) FROM _kept"
    yield _ERRORS


def _rows(address: str, source: Source, load_id: int, parts: Sequence[str]) -> str:
    columns = ", ".join(quote(c.name) for c in source.columns)
    if parts:
        rows = f"SELECT {columns}, {load_id:d} AS _load, _record FROM {_listed(address, parts)}"
    else:
        nothing = ", ".join(f"CAST(NULL AS {c.column_type.duckdb}) AS {quote(c.name)}" for c in source.columns)
        rows = f"SELECT {nothing}, 0 AS _load, 0 AS _record WHERE false"
    return f"CREATE VIEW {quote(source.name)} AS {rows}"


def _stats(source: Source, load_id: int) -> Iterator[str]:
    """A SELECT that counts the rows that break each check, in one go, and one for keys of some of them."""
    table, keys = quote(source.name), ", ".join(map(quote, source.keys))
    broken = {_text(name): f"NOT {check.duckdb}" for name, check in source.conditions.items()}
    if broken:
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in broken.values())
        each = f"unnest([{', '.join(broken)}])", f"unnest([{counts}])"
        yield _STATS.format(load_id, _text(source.name), "'check'", *each) + f" FROM {table}"
    found = []
    for name, condition in broken.items():
        some = f"SELECT {keys} FROM {table} WHERE {condition} ORDER BY {keys} LIMIT {EXAMPLES:d}"
        found.append(f"{name}, coalesce((SELECT json_group_array(json_array({keys})) FROM ({some})), '[]')")
    told = f"json_object('checks', {_text(checks_digest(source))}, 'keys', json_object({', '.join(found)}))"
    yield _STATS.format(load_id, _text(source.name), "'examples'", "''", f"CAST({told} AS VARCHAR)")


def _listed(address: str, names: Iterable[str]) -> str:
    return f"read_parquet([{', '.join(_text(f'{address}/{name}') for name in names)}])"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# A value is a number or a text, as in SQLite.
_STATS = "SELECT {} AS load_id, {} AS source, {} AS kind, {} AS name, CAST({} AS UNION(n BIGINT, t VARCHAR)) AS value"
_NO_STATS = _STATS.format(0, "''", "''", "''", 0) + " WHERE false"
_REJECTS = f"""
    SELECT {{}} AS load_id, {{}} AS source, {{}} AS path, {", ".join(_PLACE)}, 'open' AS status, key, errors FROM {{}}
"""
_NO_REJECTS = f"""
    SELECT 0 AS load_id, '' AS source, '' AS path, {", ".join(f"NULL AS {name}" for name in _PLACE)}, '' AS status,
    NULL AS key, CAST([] AS STRUCT(stage VARCHAR, code VARCHAR, "column" VARCHAR, value VARCHAR, message VARCHAR)[])
    AS errors WHERE false
"""
_ERRORS = """
    CREATE VIEW _errors AS
    SELECT reject_id, unnest(range(1, len(errors) + 1)) AS number, unnest(errors, recursive := true) FROM _kept
"""
