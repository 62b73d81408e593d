"""A chunk × a source → the rows that fit, and every reason why the others do not.

A field is text. What pydantic would read into it is narrowed to what a column of that type may look like in a file:
plain digits, plain decimal numbers, `YYYY-MM-DD HH:MM:SS`. Timestamps stay text behind that pattern: going through
`datetime` and back costs more than everything else together.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from foundation.read import Chunk, Damaged
from foundation.scan import SHOWN, Error
from foundation.source import Column, Source

Value = str | int | float | None
Row = tuple[Value, ...]

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_IN_CALENDAR = {"error": "a day that exists in the calendar"}
_SQLITE_INTEGER = Field(ge=-(2**63), le=2**63 - 1)  # a column's own constraints come after and narrow it
_MESSAGES = {"float_parsing": "Input should be a plain decimal number that can be kept as it is, of about 15 digits"}
_INTEGER = "^-?[0-9]+$"
_SHORT_DECIMAL, _DECIMAL = r"^-?[0-9]+(?:\.[0-9]+)?$", r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?$"


class Verdict(NamedTuple):
    """What came of a chunk: rows with the number of the record as last value; `rejected` in the order of the file."""

    rows: list[Row]
    rejected: list[Damaged]


def judge(source: Source, chunk: Chunk) -> Verdict:
    """Sort the records of *chunk* into rows that fit *source* and rejected records with all their reasons.

    An empty field is a missing value, and so is a required text of nothing but white space.
    """
    columns: list[Sequence[str | None]] = list(zip(*chunk.rows, strict=True)) or [()] * len(source.columns)
    for at in _optional(source):
        columns[at] = [text or None for text in columns[at]]
    rows = list(zip(*columns, chunk.records, strict=True))
    judged = _adapter(source, whole=True).validate_python(rows)
    if None not in judged:
        return Verdict(judged, chunk.damaged)
    refused = [row for row, sound in zip(rows, judged, strict=True) if not sound]
    rejected = [
        Damaged(row[-1], errors, source.key_text(source.key_of(row)))
        for row, errors in zip(refused, _reasons(source, refused), strict=True)
    ]
    return Verdict([row for row in judged if row], sorted([*chunk.damaged, *rejected]))


def _reasons(source: Source, refused: list[tuple[Any, ...]]) -> list[list[Error]]:
    """For each of these rows every reason why it does not fit."""
    reasons: list[list[Error]] = [[] for _ in refused]
    try:
        _adapter(source, whole=False).validate_python(refused)
    except ValidationError as refusal:
        for error in refusal.errors(include_url=False, include_context=False, include_input=False):
            at, position = int(error["loc"][0]), int(error["loc"][1])
            reason = _reason(source.columns[position], error["type"], error["msg"], refused[at][position])
            reasons[at].append(reason)
    return reasons


def _reason(column: Column, code: str, message: str, value: str) -> Error:
    if value == "" or (column.required and value.isspace()):
        return Error("schema", "missing", column.name, value[:SHOWN], "Field required")
    message = _MESSAGES.get(code, message)
    if column.format and code.endswith("_parsing"):
        message = f"Input should be written as it is declared: {column.format.pattern}"
    return Error("schema", code, column.name, value[:SHOWN], message)


@lru_cache(maxsize=64)
def _optional(source: Source) -> list[int]:
    return [i for i, c in enumerate(source.columns) if not c.required]


@lru_cache(maxsize=64)
def _adapter(source: Source, *, whole: bool) -> TypeAdapter[list[Row]]:
    """Judges a list of raw rows in one call; built once for each source.

    With *whole* a row that does not fit becomes None, so that one pass is enough for those that do.
    """
    row: Any = tuple.__class_getitem__((*map(_reading, source.columns), Any))
    if whole:
        row = Annotated[row, _OrNone()]
    return TypeAdapter(list[row])


def reader_of(column: Column) -> Callable[[Sequence[str]], list[Value]]:
    """A function that tells what texts are read as in *column*, None for those that do not fit."""
    reading: Any = Annotated[_reading(column), _OrNone()]
    return TypeAdapter(list[reading]).validate_python


class _OrNone:
    """Reads None where there is an error."""

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(kind), default=None, on_error="default")


def _reading(column: Column) -> Any:
    """The type of a column as it is read from text."""
    kind: Any = column.kind if column.kind in (int, float) else str
    if column.vocabulary:
        kind = Literal[column.vocabulary]
    constraints = tuple(c for c in column.constraints if c is not column.format)
    if column.kind is int:
        constraints = (_SQLITE_INTEGER, *constraints)
    elif kind is str and column.kind is not str:
        constraints = tuple(map(_as_text, constraints))
    reading: Any = Annotated[(kind, *constraints, _Written(column))]
    return reading if column.required else reading | None


def _as_text(constraint: Any) -> Any:
    """A bound for timestamps as a bound for their texts, which sort alike."""
    if not is_dataclass(constraint) or isinstance(constraint, type):
        return constraint
    return replace(constraint, **{n: str(v) for n, v in asdict(constraint).items() if isinstance(v, date)})


class _Written:
    """Narrows what pydantic reads from a text to how the column's type is written in a file."""

    def __init__(self, column: Column) -> None:
        self._column = column

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        steps = [step for step in (self._rewritten(), self._written(), handler(kind)) if step]
        return core_schema.chain_schema(steps) if len(steps) > 1 else steps[0]

    def _rewritten(self) -> CoreSchema | None:
        """From the declared format to the usual one; a column without pays nothing for it."""
        kind, declared = self._column.kind, self._column.format
        if not declared:
            return None
        read = core_schema.no_info_after_validator_function(partial(declared.read, kind=kind), core_schema.str_schema())
        return core_schema.custom_error_schema(
            read,
            custom_error_type=f"{kind.__name__}_parsing",
            custom_error_context=_IN_CALENDAR,
        )

    def _written(self) -> CoreSchema | None:
        match self._column.kind.__name__:
            case "datetime":
                return _timestamp()
            case "date":
                return _text(f"^{_DATE}$", "date_parsing", _IN_CALENDAR)
            case "int":
                return _text(_INTEGER, "int_parsing")
            case "float":
                return _decimal()
        if self._column.required and not self._column.vocabulary:
            # One visible character is enough; the pattern costs less than a look at the text in Python.
            return core_schema.str_schema(pattern=r"\S")
        return None


def _text(pattern: str, code: Any, context: dict[str, Any] | None = None) -> CoreSchema:
    text = core_schema.str_schema(pattern=pattern)
    return core_schema.custom_error_schema(text, custom_error_type=code, custom_error_context=context)


def _timestamp() -> CoreSchema:
    """Text like `2025-01-30 08:15:00` as it is; a `T` in its middle becomes a space."""
    plain = core_schema.str_schema(pattern=f"^{_DATE} {_TIME}$")
    with_t = core_schema.no_info_after_validator_function(
        lambda text: text.replace("T", " "), core_schema.str_schema(pattern=f"^{_DATE}T{_TIME}$")
    )
    return core_schema.custom_error_schema(
        core_schema.union_schema([plain, with_t], mode="left_to_right"),
        custom_error_type="datetime_parsing",
        custom_error_context={"error": "YYYY-MM-DD HH:MM:SS and in the calendar"},
    )


def _decimal() -> CoreSchema:
    """Text like `12.50`, if a float holds it as it stands; up to 15 digits it does."""
    long = core_schema.no_info_after_validator_function(_require_exact, core_schema.str_schema(pattern=_DECIMAL))
    return core_schema.custom_error_schema(
        core_schema.union_schema(
            [core_schema.str_schema(pattern=_SHORT_DECIMAL, max_length=15), long], mode="left_to_right"
        ),
        custom_error_type="float_parsing",
    )


def _require_exact(text: str) -> str:
    if Decimal(text) != Decimal(repr(float(text))):
        raise ValueError
    return text
