"""What one declared record is: a class gives the table, its key, references, indexes and checks.

A source is declared once, as a pydantic model with the columns of the file in their order:

    class Trip(Record, table="trips", key="trip_id", references={"bike_id": "bikes"}):
        '''One ride from one station to another.'''

        trip_id: int = Field(gt=0)
        bike_id: int = Field(gt=0)
        started: datetime
        ended: datetime | None = None
        weather: Literal["dry", "wet"]

A field that is not optional is required. Types: `int`, `float`, `str`, `datetime`, `date` and `Literal` of
texts, with any constraint of pydantic's `Field`; a `Format` tells how a file writes them, if not in the usual way.
"""

import hashlib
import json
import keyword
import runpy
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from foundation.errors import SchemaError
from foundation.reader.dialect import COMMAS, Dialect
from foundation.reader.layout import UNPACKED_LIMIT, Layout, key_text
from foundation.schema.checks import Check, parse_checks
from foundation.schema.formats import Format
from foundation.schema.types import COLUMN_TYPES, ColumnType


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
    def sql_type(self) -> str:
        """The column's type in a STRICT table."""
        return self.column_type.sqlite

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
        """The checks as each engine takes them."""
        return parse_checks(self.checks, self.name, {column.name: column.kind for column in self.columns})

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
                "allowed": ", ".join(c.vocabulary or map(_told, c.constraints)),
                "refers to": self.references.get(c.name, "key" if c.name in self.keys else ""),
                "meaning": c.description,
            }
            for c in self.columns
        ]

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when what is accepted or stored changes."""
        columns = [(c.name, c.header, c.kind.__name__, c.required, c.vocabulary, [_told(x) for x in c.constraints])
                   for c in self.columns]  # fmt: skip
        written = [] if self.dialect == COMMAS else [asdict(self.dialect)]
        told = json.dumps([self.name, columns, self.key, dict(self.references), *written], default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


class Record(BaseModel):
    """Declare a source by a subclass; `__source__` of the subclass is the `Source`.

    Class keywords: *table* names the table and the file, *key* the column, or columns, that identify a record,
    *references* maps columns to the tables whose keys they hold, *indexes* lists tuples of columns, *checks*
    maps names to SQL conditions that plausible rows meet, *renamed* maps columns to the names that they had before.

    Of its files: *files* is a pattern for their names, `orders/*.csv`, where it is not one named after the table;
    *delimiter* and *encoding* are those of CSV with commas in UTF-8 if none are given; *max_unpacked* is how many
    bytes a packed one may have in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    __source__: ClassVar[Source]

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Leave the class keywords to the hook below, which pydantic calls when the fields are known."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(  # type: ignore[override]  # the class keywords are named, not gathered
        cls,
        *,
        table: str = "",
        key: str | tuple[str, ...] = "",
        references: Mapping[str, str] | None = None,
        indexes: Iterable[Sequence[str]] = (),
        checks: Mapping[str, str] | None = None,
        renamed: Mapping[str, str] | None = None,
        files: str = "",
        delimiter: str = ",",
        encoding: str = "utf-8",
        max_unpacked: int = UNPACKED_LIMIT,
    ) -> None:
        """Derive the source once, when the class is declared."""
        if not table or not key:
            raise SchemaError(f"{cls.__name__}: name its table and its key, as in `class Trip(Record, table=…, key=…)`")
        decorators = cls.__pydantic_decorators__
        if decorators.field_validators or decorators.model_validators or decorators.validators:
            raise SchemaError(
                f"{cls.__name__}: validator methods are not run on files; "
                "write the rule as Annotated[..., AfterValidator(function)] or as a check"
            )
        source = Source(
            name=table,
            description=" ".join((cls.__doc__ or "").split()),
            columns=tuple(_column(cls, name, info) for name, info in cls.model_fields.items()),
            keys=(key,) if isinstance(key, str) else tuple(key),
            references=dict(references or {}),
            indexes=tuple(tuple(columns) for columns in indexes),
            checks=dict(checks or {}),
            renamed=dict(renamed or {}),
            files=files,
            dialect=_dialect(cls, delimiter, encoding),
            max_unpacked=max_unpacked,
            home=""
            if "." in cls.__qualname__ or cls.__module__ == "__main__"
            else f"{cls.__module__}:{cls.__qualname__}",
        )
        _require_consistent(source, cls.__name__)
        _require_pattern(files, cls.__name__)
        _require_checks(source, cls.__name__)
        cls.__source__ = source


def _dialect(model: type[Record], delimiter: str, encoding: str) -> Dialect:
    try:
        return Dialect(delimiter, encoding)
    except SchemaError as error:
        raise SchemaError(f"{model.__name__}: {error}") from error


def _told(constraint: Any) -> str:
    """A constraint in words that are the same in every process: `gt 0`, `max_length 20`, a function's name."""
    if is_dataclass(constraint) and not isinstance(constraint, type):
        parts = asdict(constraint)
    else:
        parts = getattr(constraint, "__dict__", {"": constraint})
    return " ".join(f"{name} {getattr(v, '__qualname__', v)}" for name, v in parts.items() if v is not None)


def _column(model: type[Record], name: str, info: FieldInfo) -> Column:
    kind, optional, constraints = _unwrap(info.annotation)
    constraints += tuple(info.metadata)
    vocabulary: tuple[str, ...] = ()
    if get_origin(kind) is Literal:
        vocabulary, kind = get_args(kind), str
        if not all(isinstance(word, str) and word for word in vocabulary):
            raise SchemaError(f"{model.__name__}.{name}: a Literal may hold texts only, none of them empty")
    if info.default not in (None, PydanticUndefined) or info.default_factory:
        raise SchemaError(f"{model.__name__}.{name}: a default is never used; a column that may be empty is `| None`")
    if kind not in COLUMN_TYPES:
        allowed = ", ".join(sorted(t.__name__ for t in COLUMN_TYPES))
        raise SchemaError(f"{model.__name__}.{name}: {kind!r} cannot be stored; use {allowed} or Literal")
    if wrong := [c.pattern for c in constraints if isinstance(c, Format) and (vocabulary or not c.suits(kind))]:
        raise SchemaError(f"{model.__name__}.{name}: no {kind.__name__} or vocabulary is written like {wrong[0]}")
    return Column(
        name=name,
        header=name if info.alias is None else info.alias,
        kind=kind,
        required=not optional,
        vocabulary=vocabulary,
        constraints=constraints,
        description=info.description or "",
    )


def _unwrap(annotation: Any) -> tuple[Any, bool, tuple[Any, ...]]:
    """Take `Annotated` and `| None` off a type: the bare type, whether None was there, the constraints."""
    if get_origin(annotation) is Annotated:
        bare, *extras = get_args(annotation)
        kind, optional, inner = _unwrap(bare)
        constraints = [c for extra in extras for c in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]
        return kind, optional, (*inner, *constraints)
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        if len(rest) == 1:
            kind, _, inner = _unwrap(rest[0])
            return kind, True, inner
    return annotation, False, ()


def _require_consistent(source: Source, declared: str) -> None:
    names, headers = {c.name for c in source.columns}, {c.header for c in source.columns}
    if len({name.lower() for name in names}) < len(source.columns) or len(headers) < len(source.columns):
        raise SchemaError(f"{declared}: two columns have the same name or alias, upper and lower case being the same")
    used = {*source.keys, *source.references, *source.renamed, *(c for columns in source.indexes for c in columns)}
    if used - names:
        raise SchemaError(f"{declared}: no column {', '.join(sorted(used - names))}")
    if both := names & set(source.renamed.values()):
        raise SchemaError(f"{declared}: {', '.join(both)} cannot be a column and the old name of another")
    if not source.name.isidentifier() or keyword.iskeyword(source.name) or source.name.startswith(("_", "sqlite")):
        raise SchemaError(f"{declared}: {source.name!r} cannot name a table; use a plain identifier")
    if not all(c.required for c in source.columns if c.name in source.keys):
        raise SchemaError(f"{declared}: the key {source.key} may not be optional")
    if formatted := {c.name for c in source.columns if c.format} & {*source.keys, *source.references}:
        raise SchemaError(f"{declared}: {', '.join(formatted)}: keys are compared as they stand; they take no Format")


def _require_pattern(files: str, declared: str) -> None:
    parts = Path(files).parts
    if any("**" in part and part != "**" for part in parts):
        raise SchemaError(f"{declared}: files={files!r}: `**` stands for folders, alone between two `/`")
    if Path(files).is_absolute() or ".." in parts:
        raise SchemaError(f"{declared}: files={files!r} leads out of the delivery's folder; name files in it")


def _require_checks(source: Source, declared: str) -> None:
    try:
        _ = source.conditions
    except SchemaError as error:
        raise SchemaError(f"{declared}: {error}") from error


def in_order(sources: Iterable[Source]) -> tuple[Source, ...]:
    """The sources with every referenced one before those that refer to it, else in the order given.

    Raises SchemaError for a reference to an unknown source, a cycle, or two sources of one name.
    """
    waiting = list(sources)
    known = {s.name for s in waiting}
    if len(known) < len(waiting):
        raise SchemaError("two sources have the same table name")
    for source in waiting:
        if unknown := set(source.references.values()) - known:
            raise SchemaError(f"{source.name} refers to {', '.join(sorted(unknown))}, which no source declares")
        if several := [s for s in waiting if s.name in source.references.values() and len(s.keys) > 1]:
            raise SchemaError(
                f"{source.name} refers to {several[0].name}, whose key has several columns ({several[0].key}); only a "
                "key of one column can be referred to: declare no reference, or a check"
            )
    placed: list[Source] = []
    while waiting:
        done = {s.name for s in placed}
        ready = [s for s in waiting if set(s.references.values()) <= done | {s.name}]
        if not ready:
            raise SchemaError(f"the references of {', '.join(s.name for s in waiting)} form a circle")
        placed.append(ready[0])
        waiting.remove(ready[0])
    return tuple(placed)


def with_parents(sources: Iterable[Source], names: Iterable[str]) -> list[str]:
    """The sources of these *names* and all that they refer to, near and far, in the order given."""
    wanted = set(names)
    for source in reversed(in_order(sources)):  # children stand last
        if source.name in wanted:
            wanted |= set(source.references.values())
    return [source.name for source in sources if source.name in wanted]


def load_sources(path: Path) -> tuple[Source, ...]:
    """The sources declared in a Python file, in the order of their references.

    The file is run: it must be the user's own.
    """
    if not path.is_file() or path.suffix != ".py":
        raise SchemaError(f"{path}: no Python file of sources there")
    try:
        # Not by import: Python takes a file that was changed within a second for the one it has compiled.
        names = runpy.run_path(str(path), run_name="foundation_user_sources")
    except Exception as error:  # a user's file can fail in any way; the cause is chained
        raise SchemaError(f"{path}: {type(error).__name__}: {error}") from error
    if not (sources := sources_in(names.values())):
        raise SchemaError(f"{path}: no source is declared there")
    return in_order(replace(source, home=str(path.absolute())) for source in sources)


def sources_in(things: Iterable[object]) -> list[Source]:
    """The sources of all declared records among *things*, each once, in order."""
    records = (t for t in things if isinstance(t, type) and issubclass(t, Record) and t is not Record)
    return list(dict.fromkeys(record.__source__ for record in records))
