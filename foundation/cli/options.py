"""The words of the command line: verbs, options, and what their values may be."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from foundation.memory import parse_bytes
from foundation.query.conditions import WORDS


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the words on the command line mean; wrong ones end the process with status 2 and a message."""
    return parser().parse_args(_joined(arguments))


def parser() -> argparse.ArgumentParser:
    """The whole command line; `verb` of what it reads names what is to be done."""
    whole = argparse.ArgumentParser(
        prog="foundation", description="Load recurring CSV exports into a database you can trust, and report on it."
    )
    verbs = whole.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, (told, add_options) in _VERBS.items():
        one = verbs.add_parser(name, help=told, description=told.capitalize() + ".")
        one.set_defaults(verb=name)
        one.add_argument("--sources", type=Path, metavar="FILE.py", help="a file of your own source classes")
        add_options(one)
    return whole


def _joined(arguments: Sequence[str]) -> list[str]:
    """Tie `--order-by -COL` together, which argparse would take for two options."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--order-by":
            joined[-1] = f"--order-by={argument}"
        else:
            joined.append(argument)
    return joined


def _add_sample(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("out", metavar="OUT", type=Path, help="folder to write into")
    verb.add_argument("--orders", type=_positive, default=10_000, metavar="N", help="orders to write (10000)")
    verb.add_argument("--faults", type=_share, default=0.0, metavar="SHARE", help="share of damaged records (0.0)")
    verb.add_argument("--seed", type=int, default=0, help="another seed gives other files (0)")


def _add_ingest(verb: argparse.ArgumentParser) -> None:
    _add_data(verb)
    _add_into(verb)
    _add_load_options(verb)
    verb.add_argument(
        "--workers", type=_positive, default=2, metavar="N", help="processes; 1: a large file is not read beside (2)"
    )
    verb.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def _add_report(verb: argparse.ArgumentParser) -> None:
    _add_data(verb)
    _add_into(verb)
    _add_load_options(verb)
    verb.add_argument("--workers", type=_positive, default=2, metavar="N", help="with --to: processes of local (2)")
    verb.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="where reports go (reports)")
    verb.add_argument("--cell-timeout", type=_positive, default=3_600, metavar="S", help="seconds for a cell (3600)")
    verb.add_argument("--notebook-timeout", type=_positive, default=86_400, metavar="S", help="for a notebook (86400)")


def _add_verify(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("run", metavar="RUN", type=Path, help="the folder of a run, reports/<run>")
    verb.add_argument("--data", type=Path, metavar="DATA", help="where the delivery is now, if it has moved")
    verb.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def _add_doctor(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def _add_stats(verb: argparse.ArgumentParser) -> None:
    _add_readable(verb)
    verb.add_argument("--source", action="append", default=[], metavar="S", help="this table only; may be repeated")
    verb.add_argument("--exact", action="store_true", help="read large tables, too, instead of what their loads kept")
    verb.add_argument("--json", action="store_true", help="print one JSON document instead of tables")


def _add_page(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("table", metavar="TABLE")
    _add_readable(verb)
    verb.add_argument(
        "--where", action="append", default=[], metavar="COL=VALUE",
        help=f"COL= finds missing values; COL__WORD=VALUE with {', '.join(WORDS)}: lists with commas",
    )  # fmt: skip
    verb.add_argument("--order-by", action="append", default=[], metavar="COL or -COL", help="a minus: descending")
    verb.add_argument("--columns", metavar="A,B", help="only these columns; client_id.city follows a reference")
    verb.add_argument("--size", type=_positive, default=100, metavar="N", help="rows on the page (100)")
    place = verb.add_mutually_exclusive_group()
    place.add_argument("--after", metavar="TOKEN", help="the page that this token of another leads to")
    place.add_argument("--page", type=_positive, metavar="N", help="the page with this number, from 1")
    verb.add_argument("--format", choices=("table", "csv", "json"), default="table")


def _add_rejects(verb: argparse.ArgumentParser) -> None:
    _add_readable(verb)
    verb.add_argument("--source", metavar="S", help="of this source only")
    verb.add_argument("--code", metavar="C", help="with this code only, such as literal_error")
    verb.add_argument("--format", choices=("table", "csv", "jsonl"), default="table")
    verb.add_argument("--export", type=Path, metavar="DIR", help="write the open ones there, to be corrected")


def _add_repair(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("data", metavar="DATA", type=Path, help="a folder with corrected <source>.csv of an export")
    _add_db(verb)


def _add_replay(verb: argparse.ArgumentParser) -> None:
    _add_db(verb)
    verb.add_argument("--dry-run", action="store_true", help="say what would be stored, change nothing")


def _add_migrate(verb: argparse.ArgumentParser) -> None:
    _add_db(verb)
    verb.add_argument("--dry-run", action="store_true", help="do it, tell what came of it, and take it back")


def _add_explain(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("table", metavar="TABLE")
    verb.add_argument("key", metavar="KEY")
    _add_readable(verb)
    verb.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def _add_export(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("db", metavar="DB", type=_place, help="the database file, or a folder of Parquet")
    verb.add_argument("out", metavar="OUT", type=Path, help="folder to write into")
    verb.add_argument("--format", choices=("parquet", "csv", "jsonl"), required=True)
    verb.add_argument("--source", action="append", default=[], metavar="S", help="this table only; may be repeated")


def _add_draft(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("file", metavar="FILE.csv", type=Path, help="a file that no source is declared for")
    verb.add_argument("--delimiter", default=",", metavar="C", help="what separates its fields (a comma); \\t is a tab")
    verb.add_argument("--encoding", default="utf-8", metavar="E", help="how its text is encoded, as cp1252 (utf-8)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", type=_place, help="a folder with the files, <source>.csv")
    parser.add_argument("--source", action="append", default=[], metavar="S", help="this source only; may be repeated")


def _add_db(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", type=Path, required=True, metavar="DB", help="the database file")


def _add_readable(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--db", type=_place, required=True, metavar="DB", help="the database file, or a folder of Parquet"
    )


def _add_into(parser: argparse.ArgumentParser) -> None:
    into = parser.add_mutually_exclusive_group(required=True)
    into.add_argument("--db", type=Path, metavar="DB", help="the database file")
    into.add_argument("--to", type=_place, metavar="OUT", help="a folder of Parquet, made on a Dask cluster")
    parser.add_argument(
        "--cluster", default="local", metavar="ADDRESS", help="with --to: a Dask scheduler, or local: --workers here"
    )
    parser.add_argument(
        "--range-size", type=_size, default="64MiB", metavar="SIZE", help="with --to: bytes that one task reads (64MiB)"
    )


def _add_load_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chunk-size", type=_positive, default=1_000, metavar="N", help="records a chunk (1000)")
    parser.add_argument(
        "--memory-limit", type=_size, default="500MB", metavar="SIZE", help="stop cleanly rather than use more (500MB)"
    )
    parser.add_argument(
        "--max-rejects", type=_tolerance, metavar="N or P%", help="exit with 1 when more records are refused"
    )
    parser.add_argument("--again", action="store_true", help="do it all again, whether anything has changed or not")


def _place(text: str) -> Path | str:
    """A path, or an address that stays as it is: a path would lose one of the slashes behind its colon."""
    return text if "://" in text else Path(text)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is wanted, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"a share from 0 to 1 is wanted, got {text!r}")


def _size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _tolerance(text: str) -> Callable[[int], float]:
    """How many rejects are let pass, as a function of the records read."""
    number, percent, _ = text.partition("%")
    with suppress(ValueError):
        if percent and 0 <= float(number) <= 100:
            return lambda read: read * float(number) / 100
        if not percent and int(number) >= 0:
            return lambda read: int(number)
    raise argparse.ArgumentTypeError(f"a number like 100 or a share like 0.5% is wanted, got {text!r}")


_VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "sample": ("write eight files like the real ones", _add_sample),
    "check": ("judge everything, store nothing", _add_data),
    "ingest": ("load a delivery into a database", _add_ingest),
    "report": ("load a delivery through the notebooks, and make pages of them", _add_report),
    "verify": ("run a report again elsewhere, and say what differs", _add_verify),
    "doctor": ("hold what is installed against environment.yml and requirements.lock", _add_doctor),
    "stats": ("tables, columns, loads and checks of a database", _add_stats),
    "page": ("one page of a table", _add_page),
    "rejects": ("what was refused, where and why: one line an error", _add_rejects),
    "repair": ("take corrected exports back", _add_repair),
    "replay": ("judge the open rejects again", _add_replay),
    "migrate": ("carry tables over to sources that are declared otherwise now", _add_migrate),
    "explain": ("where a row came from: file, place, bytes, run, declaration", _add_explain),
    "export": ("tables as open files, with a Data Package that describes them", _add_export),
    "draft": ("propose a source class for an unknown file, as Python text", _add_draft),
}
