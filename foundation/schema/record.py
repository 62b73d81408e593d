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

import importlib
import keyword
import runpy
import types
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from foundation.errors import SchemaError
from foundation.reader import UNPACKED_LIMIT, Dialect
from foundation.schema.formats import Format
from foundation.schema.source import Column, Source, in_order, prefixed
from foundation.schema.types import COLUMN_TYPES


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
        name = cls.__name__
        if not table or not key:
            raise SchemaError(f"{name}: name its table and its key, as in `class Trip(Record, table=…, key=…)`")
        _require_no_validators(cls)
        columns = tuple(_column(f"{name}.{column}", column, info) for column, info in cls.model_fields.items())
        with prefixed(name):
            source = Source(
                name=table,
                description=" ".join((cls.__doc__ or "").split()),
                columns=columns,
                keys=(key,) if isinstance(key, str) else tuple(key),
                references=dict(references or {}),
                indexes=tuple(map(tuple, indexes)),
                checks=dict(checks or {}),
                renamed=dict(renamed or {}),
                files=files,
                dialect=Dialect(delimiter, encoding),
                max_unpacked=max_unpacked,
                # Nowhere if it is inside a function or in what was started.
                home="" if "." in cls.__qualname__ or cls.__module__ == "__main__" else f"{cls.__module__}:{name}",
            )
            _require_consistent(source)
            _require_pattern(files)
            _ = source.conditions  # parsed here, so that a check that cannot be is refused at once
        cls.__source__ = source


def _require_no_validators(model: type[Record]) -> None:
    decorators = model.__pydantic_decorators__
    if decorators.field_validators or decorators.model_validators or decorators.validators:
        raise SchemaError(
            f"{model.__name__}: validator methods are not run on files; "
            "write the rule as Annotated[..., AfterValidator(function)] or as a check"
        )


def _column(declared: str, name: str, info: FieldInfo) -> Column:
    kind, is_optional, constraints = _unwrap(info.annotation)
    vocabulary: tuple[Any, ...] = ()
    if get_origin(kind) is Literal:
        vocabulary, kind = get_args(kind), str
    column = Column(
        name=name,
        header=name if info.alias is None else info.alias,
        kind=kind,
        required=not is_optional,
        vocabulary=vocabulary,
        constraints=(*constraints, *info.metadata),
        description=info.description or "",
    )
    with prefixed(declared):
        _require_storable(column, has_default=info.default not in (None, PydanticUndefined) or info.default_factory)
    return column


def _require_storable(column: Column, *, has_default: object) -> None:
    if not all(isinstance(word, str) and word for word in column.vocabulary):
        raise SchemaError("a Literal may hold texts only, none of them empty")
    if has_default:
        raise SchemaError("a default is never used; a column that may be empty is `| None`")
    if column.kind not in COLUMN_TYPES:
        allowed = ", ".join(sorted(kind.__name__ for kind in COLUMN_TYPES))
        raise SchemaError(f"{column.kind!r} cannot be stored; use {allowed} or Literal")
    formats = [constraint for constraint in column.constraints if isinstance(constraint, Format)]
    if wrong := [form for form in formats if column.vocabulary or not form.suits(column.kind)]:
        raise SchemaError(f"no {column.kind.__name__} or vocabulary is written like {wrong[0].pattern}")


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


def _require_consistent(source: Source) -> None:
    names, headers = {c.name for c in source.columns}, {c.header for c in source.columns}
    if len({name.lower() for name in names}) < len(source.columns) or len(headers) < len(source.columns):
        raise SchemaError("two columns have the same name or alias, upper and lower case being the same")
    used = {*source.keys, *source.references, *source.renamed, *(c for columns in source.indexes for c in columns)}
    if used - names:
        raise SchemaError(f"no column {', '.join(sorted(used - names))}")
    if both := names & set(source.renamed.values()):
        raise SchemaError(f"{', '.join(both)} cannot be a column and the old name of another")
    if not source.name.isidentifier() or keyword.iskeyword(source.name) or source.name.startswith(("_", "sqlite")):
        raise SchemaError(f"{source.name!r} cannot name a table; use a plain identifier")
    if not all(c.required for c in source.columns if c.name in source.keys):
        raise SchemaError(f"the key {source.key} may not be optional")
    if formatted := {c.name for c in source.columns if c.format} & {*source.keys, *source.references}:
        raise SchemaError(f"{', '.join(formatted)}: keys are compared as they stand; they take no Format")


def _require_pattern(files: str) -> None:
    parts = Path(files).parts
    if any("**" in part and part != "**" for part in parts):
        raise SchemaError(f"files={files!r}: `**` stands for folders, alone between two `/`")
    if Path(files).is_absolute() or ".." in parts:
        raise SchemaError(f"files={files!r} leads out of the delivery's folder; name files in it")


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


def find_source(home: str, name: str) -> Source | None:
    """The source that is declared in a file, or in a module under a name, if it is still there."""
    if home.endswith(".py"):
        return next((source for source in load_sources(Path(home)) if source.name == name), None)
    module, _, declared = home.partition(":")
    source: Source | None = None
    with suppress(ImportError, AttributeError):
        source = getattr(importlib.import_module(module), declared).__source__
    return source


def sources_in(things: Iterable[object]) -> list[Source]:
    """The sources of all declared records among *things*, each once, in order."""
    records = (t for t in things if isinstance(t, type) and issubclass(t, Record) and t is not Record)
    return list(dict.fromkeys(record.__source__ for record in records))
