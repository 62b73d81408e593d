"""The verbs that change nothing: they read what is loaded, or look at a file, a run or what is installed."""

import sys
from argparse import Namespace
from pathlib import Path

from foundation.cli.options import DB_TO_READ, JSON, SOURCE, SOURCES, Option, address, positive, sources_of, verb
from foundation.cli.output import show_json, show_line, show_rows, show_table
from foundation.delivery import sources as delivery
from foundation.errors import FoundationError
from foundation.lake.duckdb import open_database
from foundation.query import WORDS, Database, Query
from foundation.reader import write_csv

_WHERE = f"COL= finds missing values; COL__WORD=VALUE with {', '.join(WORDS)}: lists with commas"


def _open(options: Namespace) -> Database:
    return open_database(options.db, sources=sources_of(options))


@verb(
    DB_TO_READ,
    SOURCE,
    SOURCES,
    Option("--exact", "read large tables, too, instead of what their loads kept", action="store_true"),
    JSON,
)
def stats(options: Namespace) -> int:
    """Tables, columns, loads and checks of a database."""
    from foundation.stats import overview

    with _open(options) as database:
        for name in options.source:
            database[name]  # raises for an unknown table
        statistics = overview.describe(database, options.source, exact=options.exact)
    if options.json:
        show_json(statistics, indent=2)
        return 0
    for title, columns, rows in statistics.shown():
        show_table(columns, rows, title=title)
    return 0


@verb(
    Option("table", "the name of a table", "TABLE"),
    DB_TO_READ,
    SOURCES,
    Option("--where", _WHERE, "COL=VALUE", default=[], action="append"),
    Option("--order-by", "a minus: descending", "COL or -COL", default=[], action="append"),
    Option("--columns", "only these columns; client_id.city follows a reference", "A,B"),
    Option("--size", "rows on the page (100)", "N", positive, 100),
    Option("--after", "the page that this token of another leads to", "TOKEN", one_of="place"),
    Option("--page", "the page with this number, from 1", "N", positive, one_of="place"),
    Option("--format", "table, for people, unless given", default="table", choices=("table", "csv", "json")),
)
def page(options: Namespace) -> int:
    """One page of a table."""
    with _open(options) as database:
        shown = _query(database, options).page(options.size, after=options.after, number=options.page)
    if options.format == "json":
        show_json({"rows": shown.records(), "next": shown.next, "previous": shown.previous, "total": shown.total})
    elif options.format == "csv":
        write_csv(sys.stdout, shown.columns, shown.rows)
    else:
        show_rows(shown.columns, shown.rows, title=f"{options.table}: {shown.told()}")
        for name, token in (("previous", shown.previous), ("next", shown.next)):
            if token:
                print(f"The {name} page: --after {token}", file=sys.stderr)
    return 0


def _query(database: Database, options: Namespace) -> Query:
    query = database[options.table]
    for condition in options.where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise FoundationError(f"--where {condition}: write it as COL=VALUE")
        is_list = column.endswith(("__in", "__between"))
        query = query.where({column: value.split(",") if is_list else value or None})
    query = query.order_by(*options.order_by)
    return query.select(*options.columns.split(",")) if options.columns else query


@verb(
    DB_TO_READ,
    Option("--source", "of this source only", "S"),
    SOURCES,
    Option("--code", "with this code only, such as literal_error", "C"),
    Option("--format", "table, for people, unless given", choices=("table", "csv", "jsonl"), one_of="output"),
    Option("--export", "write the open ones there, to be corrected", "DIR", Path, one_of="output"),
)
def rejects(options: Namespace) -> int:
    """What was refused, where and why: one line an error."""
    from foundation.stats import overview

    with _open(options) as database:
        if options.export:
            from foundation.query import export_rejects

            paths = export_rejects(database, options.export, source=options.source, code=options.code)
            show_line("\n".join(map(str, paths)) or "No rejects are open.")
            return 0
        errors = overview.rejects(database, source=options.source, code=options.code)
        if options.format == "jsonl":
            for error in errors:
                show_json(error)
        elif options.format == "csv":
            write_csv(sys.stdout, overview.REJECT_COLUMNS, (list(error.values()) for error in errors))
        else:
            columns = [name for name in overview.REJECT_COLUMNS if name != "path"]
            show_table(columns, [[error[name] for name in columns] for error in errors])
    return 0


@verb(
    Option("table", "the name of a table", "TABLE"), Option("key", "the key of a row", "KEY"), DB_TO_READ, SOURCES, JSON
)
def explain(options: Namespace) -> int:
    """Where a row came from: file, place, bytes, run, declaration."""
    from foundation.query import lineage

    with _open(options) as database:
        origin = lineage.explain(database, options.table, options.key)
    if options.json:
        show_json(origin, indent=2)
        return 0
    if origin["row"] is not None:
        show_table(("column", "value"), list(origin["row"].items()), title=f"{options.table} {options.key}")
        known = {n: v for n, v in origin.items() if n not in ("row", "rejects", "table", "key") and v is not None}
        show_table(("what", "value"), list(known.items()), title="Where from")
    for reject in origin["rejects"]:
        show_table(("what", "value"), list(reject.items()), title="A record with this key that was rejected")
    return 0


@verb(
    Option("db", "the database file, or a folder of Parquet", "DB", address),
    Option("out", "folder to write into", "OUT", Path),
    Option("--format", "one file a table in this format", choices=("parquet", "csv", "jsonl"), required=True),
    SOURCE,
    SOURCES,
)
def export(options: Namespace) -> int:
    """Tables as open files, with a Data Package that describes them."""
    from foundation.query import export as write_files

    with _open(options) as database:
        files = write_files(database, options.out, form=options.format, only=options.source)
    rows = [(file.source.name, str(file.path), file.rows, file.bytes) for file in files]
    show_table(("source", "file", "rows", "bytes"), rows, title=f"Described in {options.out / 'datapackage.json'}")
    return 0


@verb(
    Option("file", "a file that no source is declared for", "FILE.csv", Path),
    SOURCES,
    Option("--delimiter", "what separates its fields (a comma); \\t is a tab", "C", default=","),
    Option("--encoding", "how its text is encoded, as cp1252 (utf-8)", "E", default="utf-8"),
)
def draft(options: Namespace) -> int:
    """Propose a source class for an unknown file, as Python text."""
    from foundation.infer import inference
    from foundation.reader import Dialect

    dialect = Dialect(options.delimiter.replace("\\t", "\t"), options.encoding)
    proposal = inference.draft(options.file, sources_of(options), dialect)
    print(proposal.text, end="")
    next_step = "Keep it in a file (… > my_sources.py) and settle its doubts. Then: "
    show_line(f"{next_step}foundation check {options.file.parent} --sources my_sources.py", is_error=True)
    return 0 if proposal.is_whole else 1


@verb(
    Option("run", "the folder of a run, reports/<run>", "RUN", Path),
    Option("--data", "where the delivery is now, if it has moved", "DATA", Path),
    JSON,
)
def verify(options: Namespace) -> int:
    """Run a report again elsewhere, and say what differs."""
    from foundation.report.provenance import reproduce

    differences = reproduce.verify(options.run, options.data, sources=delivery.SOURCES)
    if options.json:
        outcome = {"run_id": options.run.resolve().name, "status": "different" if differences else "identical"}
        show_json(outcome | {"differences": [difference._asdict() for difference in differences]}, indent=2)
    elif differences:
        show_table(("what", "where", "then", "now"), differences, title=f"{options.run} is not as it was")
    else:
        show_line(f"{options.run}: identical, in content, values, cells and pages")
    return 1 if differences else 0


@verb(JSON)
def doctor(options: Namespace) -> int:
    """Hold what is installed against environment.yml and requirements.lock."""
    from foundation.cli.doctor import examine

    findings = examine()
    if options.json:
        show_json([finding._asdict() for finding in findings], indent=2)
    else:
        rows = [(*finding[:3], "yes" if finding.is_well else "NO") for finding in findings]
        show_table(("what", "wanted", "found", "is it well"), rows)
    return 0 if all(finding.is_well for finding in findings) else 1
