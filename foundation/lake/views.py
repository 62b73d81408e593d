"""What a folder of Parquet holds, as tables and views of DuckDB that answer what is asked of a database in SQL.

Rows, rejects and their reasons are views over the files that the manifest names; what it tells of runs, loads and parts
fills the tables of the ledger. Checks are counted when somebody asks, for nothing can have changed since the load.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from foundation.schema.source import Source
from foundation.store.counts import EXAMPLES, checks_digest
from foundation.store.database import quote

Statement = tuple[str, Sequence[Any]]
_PLACE = ("record", "line", "last_line", "byte_start", "byte_end", "raw")
# The statements of the ledger in DuckDB's words; views are nothing to refer to.
_DIALECT = {
    r"\) STRICT.*;": ");",
    " ANY ": " VARCHAR ",
    " INTEGER": " BIGINT",
    " REAL": " DOUBLE",
    " REFERENCES _\\w+": "",
}
_RUN = dict.fromkeys(("run_id", "started", "finished", "status", "options", "versions"), "VARCHAR")
_PART = {
    **dict.fromkeys(("chunk_id", "load_id", "records", "bytes"), "BIGINT"), "seconds": "DOUBLE",
    **dict.fromkeys(("rss_bytes", "record_end", "line_end", "byte_end"), "BIGINT"), "digest": "VARCHAR",
}  # fmt: skip


def statements(
    address: str, manifest: Mapping[str, Any], sources: Iterable[Source], *, only: Mapping[str, int]
) -> Iterator[Statement]:
    """What is to be run, in order, each with the values bound to it.

    Of the sources in *only* the rows of one part are seen, the one with that number.
    """
    yield from ((sql, ()) for sql in _ledger())
    yield _filled("_runs", _RUN, (_run(run) for run in manifest["runs"]))
    for load in manifest["loads"]:
        yield _load(load)
    yield _filled("_chunks", _PART, _chunks(manifest["loads"]))
    yield from ((sql, ()) for sql in _rejects(address, manifest["loads"]))
    loads = {load["source"]: load for load in manifest["loads"] if load["status"] == "complete"}
    for source in sources:
        load = loads.get(source.name, {"load_id": 0, "parts": []})
        parts = [part["rows"] for part in load["parts"]]
        yield _rows(address, source, load["load_id"], [parts[only[source.name]]] if source.name in only else parts), ()
    told = [one for s in sources if s.name in loads for one in _stats(s, loads[s.name]["load_id"])]
    yield f"CREATE VIEW _stats AS {' UNION ALL '.join(told) or _NO_STATS}", ()


def _ledger() -> Iterator[str]:
    """The tables of the ledger, but for those that are views here."""
    script = files("foundation.store").joinpath("schema.sql").read_text("utf-8")
    for word, said in _DIALECT.items():
        script = re.sub(word, said, script)
    for statement in script.split(";\n"):
        if not re.search("CREATE (INDEX|TABLE _(rejects|errors|stats) )", statement):
            yield statement


def _filled(table: str, types: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> Statement:
    """Rows put into a table in one go: one by one the parts of a large folder would take minutes."""
    told = f"SELECT unnest(from_json(?, '[{json.dumps(types)}]'), recursive := true)"
    return f"INSERT INTO {table} BY NAME {told}", [json.dumps(list(rows))]


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    options = json.dumps({"data": run["data"]})
    told = {name: run[name] for name in ("run_id", "started", "finished", "versions")}
    return told | {"status": "complete", "options": options}


def _load(load: Mapping[str, Any]) -> Statement:
    told = {**load, "header": json.dumps(load["header"]), "warnings": json.dumps(load["warnings"])}
    names = [name for name in load if name not in ("identity", "content", "range_size", "parts", "rejects")]
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO _loads ({', '.join(map(quote, names))}) VALUES ({marks})", [told[name] for name in names]


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
