"""What a verb is made of: what it takes, what the values of that may be, and what it does."""

import argparse
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from foundation.delivery import sources as delivery
from foundation.schema import Source, load_sources


class Option:
    """An option or an argument of a verb, its text read by *kind*; what else there is, `add_argument` takes.

    *only_with* names the option without which this one would be ignored: it is refused then. Of the options with the
    same *one_of* one may be given, or must be if they are required.
    """

    def __init__(
        self, name: str, help: str, metavar: str | None = None, kind: Callable[[str], Any] | None = None,
        default: Any = None, *, only_with: str = "", one_of: str = "", **more: Any,
    ) -> None:  # fmt: skip
        self.name, self.default, self.only_with, self.one_of = name, default, only_with, one_of
        more |= {"help": f"with {only_with}: {help}" if only_with else help, "metavar": metavar, "type": kind}
        more["default"] = None if only_with else default
        self.is_group_required = bool(one_of) and more.pop("required", False)
        self.settings = {key: value for key, value in more.items() if value is not None}

    def complete(self, options: Namespace) -> None:
        """Put in the default of an option that goes with another one, or refuse it where that one is not given."""
        name, other = (name.lstrip("-").replace("-", "_") for name in (self.name, self.only_with))
        if other and getattr(options, name) is None:
            setattr(options, name, self.default)
        elif other and getattr(options, other) is None:
            options.refuse(f"{self.name} goes with {self.only_with} only; leave it out")


class Command(NamedTuple):
    """A verb: its name, a sentence, its options, and what it does, which gives the exit status."""

    name: str
    help: str
    options: Sequence[Option]
    run: Callable[[Namespace], int]


def verb(*options: Option) -> Callable[[Callable[[Namespace], int]], Command]:
    """Make a verb of a function, with its name and the first sentence about it; it takes no other options."""
    return lambda run: Command(run.__name__, (run.__doc__ or "").split("\n")[0], options, run)


def parse(commands: Sequence[Command], arguments: Sequence[str]) -> Namespace:
    """Read a command line; one that cannot be read ends the process with status 2 and a message."""
    parser = argparse.ArgumentParser(
        prog="foundation", description="Load recurring CSV exports into a database you can trust, and report on it."
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for command in commands:
        help = command.help[0].lower() + command.help[1:].removesuffix(".")
        _add_options(verbs.add_parser(command.name, help=help, description=command.help), command)
    words = iter(arguments)  # `--order-by -COL` is tied together: argparse would take it for two options
    tied = ["=".join([word, *islice(words, 1)]) if word == "--order-by" else word for word in words]
    options = parser.parse_args(tied)
    for option in options.command.options:
        option.complete(options)
    return options


def _add_options(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.set_defaults(command=command, refuse=parser.error)
    groups: dict[str, Any] = {"": parser}
    for option in command.options:
        if option.one_of not in groups:
            groups[option.one_of] = parser.add_mutually_exclusive_group(required=option.is_group_required)
        groups[option.one_of].add_argument(option.name, **option.settings)


def address(text: str) -> Path | str:
    """A path, or an address that stays as it is: a path would lose one of the slashes behind its colon."""
    return text if "://" in text else Path(text)


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"a whole number of at least 1 is wanted, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    with suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise ArgumentTypeError(f"a share from 0 to 1 is wanted, got {text!r}")


def size(text: str) -> int:
    """Bytes, written like `500MB`."""
    from foundation.memory import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def tolerance(text: str) -> Callable[[int], float]:
    """How many rejects are let pass, as a function of the records read."""
    number, percent, _ = text.partition("%")
    with suppress(ValueError):
        if percent and 0 <= float(number) <= 100:
            return lambda read: read * float(number) / 100
        if not percent and int(number) >= 0:
            return lambda read: int(number)
    raise ArgumentTypeError(f"a number like 100 or a share like 0.5% is wanted, got {text!r}")


def sources_of(options: Namespace) -> Sequence[Source]:
    """The sources of `--sources`, or those of the example."""
    return load_sources(options.sources) if options.sources else delivery.SOURCES


SOURCES = Option("--sources", "a file of your own source classes", "FILE.py", Path)
SOURCE = Option("--source", "this source only; may be repeated", "S", default=[], action="append")
DELIVERY = (Option("data", "a folder with the files, <source>.csv", "DATA", address), SOURCE, SOURCES)
DB = Option("--db", "the database file", "DB", Path, required=True)
DB_TO_READ = Option("--db", "the database file, or a folder of Parquet", "DB", address, required=True)
DRY_RUN = Option("--dry-run", "say what would change, change nothing", action="store_true")
JSON = Option("--json", "print one JSON document instead of tables", action="store_true")
LOAD = (
    *DELIVERY,
    Option("--db", "the database file", "DB", Path, one_of="target", required=True),
    Option("--to", "a folder of Parquet, made on a Dask cluster", "OUT", address, one_of="target"),
    Option("--cluster", "a Dask scheduler, or local: --workers here", "ADDRESS", str, "local", only_with="--to"),
    Option("--range-size", "bytes that one task reads (64MiB)", "SIZE", size, 2**26, only_with="--to"),
    Option("--chunk-size", "records a chunk (1000)", "N", positive, 1_000, only_with="--db"),
    Option("--memory-limit", "stop cleanly above it (500MB)", "SIZE", size, 500_000_000, only_with="--db"),
    Option("--max-rejects", "exit with 1 when more records are refused", "N or P%", tolerance),
    Option("--again", "do it all again, whether anything has changed or not", action="store_true"),
)
