"""A source and its columns, from which everything else is derived, and the order in which sources are loaded."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from foundation.errors import SchemaError
from foundation.reader import COMMAS, UNPACKED_LIMIT, Dialect, Layout, key_text
from foundation.schema.checks import Check, parse_check
from foundation.schema.formats import Format
from foundation.schema.types import COLUMN_TYPES, ColumnType


@contextmanager
def prefixed(declared: str) -> Iterator[None]:
    """Put what was *declared* before what is wrong with it."""
    try:
        yield
    except SchemaError as error:
        raise SchemaError(f"{declared}: {error}") from error


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in the table and in the file, and what may stand in it."""

    name: str
    header: str
    kind: type  # one of `COLUMN_TYPES`
    required: bool
    vocabulary: tuple[str, ...] = ()
    constraints: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    description: str = ""

    @property
    def column_type(self) -> ColumnType:
        """What its type is called wherever its values go."""
        return COLUMN_TYPES[self.kind]

    @property
    def format(self) -> Format | None:
        """How the file writes it, if it is declared."""
        return next((c for c in self.constraints if isinstance(c, Format)), None)


@dataclass(frozen=True, eq=False)
class Source:
    """Everything the package knows of one kind of record; made by declaring a `Record`."""

    name: str
    description: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]  # the columns that identify a record together; mostly one
    references: Mapping[str, str]  # column: the source whose key it holds
    indexes: tuple[tuple[str, ...], ...]
    checks: Mapping[str, str]  # name: condition that a plausible row meets, in the SQL of `checks`
    renamed: Mapping[str, str] = field(default_factory=dict)  # column: what it was called in an older database
    files: str = ""  # which files of a delivery's folder hold it, a pattern as `orders/*.csv`; empty: `file_name`
    dialect: Dialect = COMMAS
    max_unpacked: int = UNPACKED_LIMIT  # bytes
    home: str = ""  # where another process finds it: `module:Class` or a file of sources; empty: nowhere

    @property
    def key(self) -> str:
        """The name of the key column, or the names of all of them."""
        return ", ".join(self.keys)

    @cached_property
    def key_of(self) -> Callable[[Sequence[Any]], Any]:
        """Takes the key out of a row: its value, or a tuple of values where the key has several columns."""
        return itemgetter(*map(self.position, self.keys))

    @cached_property
    def conditions(self) -> Mapping[str, Check]:
        """The checks as each engine takes them; raises SchemaError that names the check."""
        kinds, parsed = {column.name: column.kind for column in self.columns}, {}
        for name, text in self.checks.items():
            with prefixed(f"the check {name}"):
                parsed[name] = parse_check(text, self.name, kinds)
        return parsed

    def key_text(self, key: Any) -> str:
        """A key as the ledger has it: as it stands, or a JSON array of texts where it has several columns."""
        return key_text([key] if len(self.keys) == 1 else key)

    @property
    def file_name(self) -> str:
        """The file in a delivery folder that holds this source, if no other ones are declared."""
        return f"{self.name}.csv"

    @property
    def pattern(self) -> str:
        """What the names of its files look like, in a delivery folder; each may be packed."""
        return self.files or self.file_name

    @cached_property
    def layout(self) -> Layout:
        """What the reader must know of its files."""
        return Layout(
            headers=tuple(c.header for c in self.columns),
            dialect=self.dialect,
            keys=tuple(map(self.position, self.keys)),
            integers=frozenset(c.header for c in self.columns if c.kind is int),
            former=tuple(self.renamed.get(c.name) for c in self.columns),
            max_unpacked=self.max_unpacked,
        )

    def position(self, column: str) -> int:
        """Where *column* stands in a row, from 0."""
        return [c.name for c in self.columns].index(column)

    def dictionary(self) -> list[dict[str, str]]:
        """The data dictionary: for each column what may stand in it, in words."""
        return [
            {
                "column": c.header,
                "type": c.kind.__name__,
                "required": "yes" if c.required else "no",
                "allowed": ", ".join(c.vocabulary or map(_describe, c.constraints)),
                "refers to": self.references.get(c.name, "key" if c.name in self.keys else ""),
                "meaning": c.description,
            }
            for c in self.columns
        ]

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when what is accepted or stored changes."""
        columns = [
            (c.name, c.header, c.kind.__name__, c.required, c.vocabulary, list(map(_describe, c.constraints)))
            for c in self.columns
        ]
        dialect = [] if self.dialect == COMMAS else [asdict(self.dialect)]
        declared = json.dumps([self.name, columns, self.key, dict(self.references), *dialect], default=str)
        return hashlib.sha256(declared.encode()).hexdigest()[:16]


def _describe(constraint: Any) -> str:
    """A constraint in words that are the same in every process: `gt 0`, `max_length 20`, a function's name."""
    if is_dataclass(constraint) and not isinstance(constraint, type):
        parts = asdict(constraint)
    else:
        parts = getattr(constraint, "__dict__", {"": constraint})
    return " ".join(f"{name} {getattr(v, '__qualname__', v)}" for name, v in parts.items() if v is not None)


def in_order(sources: Iterable[Source]) -> tuple[Source, ...]:
    """The sources with every referenced one before those that refer to it, else in the order given.

    Raises SchemaError for a reference to an unknown source, a cycle, or two sources of one name.
    """
    waiting = list(sources)
    _require_parents(waiting)
    placed: dict[str, Source] = {}
    while waiting:
        ready = [s for s in waiting if set(s.references.values()) <= {*placed, s.name}]
        if not ready:
            raise SchemaError(f"the references of {', '.join(s.name for s in waiting)} form a circle")
        placed[ready[0].name] = ready[0]
        waiting.remove(ready[0])
    return tuple(placed.values())


def _require_parents(sources: Sequence[Source]) -> None:
    by_name = {source.name: source for source in sources}
    if len(by_name) < len(sources):
        raise SchemaError("two sources have the same table name")
    for source in sources:
        parents = set(source.references.values())
        if unknown := parents - by_name.keys():
            raise SchemaError(f"{source.name} refers to {', '.join(sorted(unknown))}, which no source declares")
        if several := [by_name[name] for name in parents if len(by_name[name].keys) > 1]:
            raise SchemaError(
                f"{source.name} refers to {several[0].name}, whose key has several columns ({several[0].key}); only a "
                "key of one column can be referred to: declare no reference, or a check"
            )


def with_parents(sources: Iterable[Source], names: Iterable[str]) -> list[str]:
    """The sources of these *names* and all that they refer to, near and far, in the order given."""
    wanted = set(names)
    for source in reversed(in_order(sources)):  # children stand last
        if source.name in wanted:
            wanted |= set(source.references.values())
    return [source.name for source in sources if source.name in wanted]
