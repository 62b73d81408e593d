"""A chunk × a source → the rows that fit, and every reason why the others do not.

A field is text. What pydantic would read into it is narrowed to what a column of that type may look like in a file:
plain digits, plain decimal numbers, `YYYY-MM-DD HH:MM:SS`. Timestamps stay text behind that pattern: going through
`datetime` and back costs more than everything else together.
"""

from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from foundation.read import Chunk, Damaged
from foundation.scan import Error
from foundation.source import Column, Source

Value = str | int | float | None
Row = tuple[Value, ...]

_SHOWN = 1_000  # characters of a bad value that are kept beside its message; the record itself is kept whole

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_IN_CALENDAR = {"error": "a day that exists in the calendar"}
_LIMITS = {  # what SQLite can hold; a column's own constraints come after and narrow it
    "int": (Field(ge=-(2**63), le=2**63 - 1),),
    "float": (Field(allow_inf_nan=False),),
}
_PATTERNS = {  # how a type is written in a file, and pydantic's name for text that is not
    "int": ("^-?[0-9]+$", "int_parsing"),
    "float": (r"^-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$", "float_parsing"),
}


class Verdict(NamedTuple):
    """What came of a chunk: `rows[i]` is record number `records[i]`; `rejected` is in the order of the file."""

    rows: list[Row]
    records: list[int]
    rejected: list[Damaged]


def judge(source: Source, chunk: Chunk) -> Verdict:
    """Sort the records of *chunk* into rows that fit *source* and rejected records with all their reasons.

    An empty field is a missing value, and so is a required text of nothing but white space.
    """
    rows = chunk.rows
    for at in _optional(source):
        for row in rows:
            if not row[at]:
                row[at] = None  # type: ignore[call-overload]
    adapter = _adapter(source)
    try:
        return Verdict(adapter.validate_python(rows), chunk.records, chunk.damaged)
    except ValidationError as refusal:
        reasons: dict[int, list[Error]] = {}
        for error in refusal.errors(include_url=False, include_context=False):
            at, column = int(error["loc"][0]), source.columns[int(error["loc"][1])]
            reasons.setdefault(at, []).append(_reason(column, error["type"], error["msg"], error["input"]))
        sound = [i for i in range(len(rows)) if i not in reasons]
        key = source.position(source.key)
        rejected = [Damaged(chunk.records[i], errors, rows[i][key]) for i, errors in reasons.items()]
        return Verdict(
            adapter.validate_python([rows[i] for i in sound]),
            [chunk.records[i] for i in sound],
            sorted([*chunk.damaged, *rejected]),
        )


def _reason(column: Column, code: str, message: str, value: Any) -> Error:
    if value is None or value == "" or (column.required and value.isspace()):
        return Error("schema", "missing", column.name, value, "Field required")
    return Error("schema", code, column.name, value[:_SHOWN], message)


@lru_cache(maxsize=64)
def _optional(source: Source) -> list[int]:
    return [i for i, c in enumerate(source.columns) if not c.required]


@lru_cache(maxsize=64)
def _adapter(source: Source) -> TypeAdapter[list[Row]]:
    """Judges a list of raw rows in one call; built once for each source."""
    row: Any = tuple.__class_getitem__(tuple(map(_reading, source.columns)))
    return TypeAdapter(list[row])


def _reading(column: Column) -> Any:
    """The type of a column as it is read from text."""
    kind: Any = column.kind if column.kind.__name__ in ("int", "float") else str
    if column.vocabulary:
        kind = Literal[column.vocabulary]
    limits = _LIMITS.get(column.kind.__name__, ())
    reading: Any = Annotated[(kind, *limits, *column.constraints, _Written(column))]
    return reading if column.required else reading | None


class _Written:
    """Narrows what pydantic reads from a text to how the column's type is written in a file."""

    def __init__(self, column: Column) -> None:
        self._column = column

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler(kind)
        name = self._column.kind.__name__
        if name == "datetime":
            return core_schema.chain_schema([_timestamp(), inner])
        if name == "date":
            return core_schema.chain_schema([_text(f"^{_DATE}$", "date_parsing", _IN_CALENDAR), inner])
        if name in _PATTERNS:
            pattern, code = _PATTERNS[name]
            return core_schema.chain_schema([_text(pattern, code), inner])
        if self._column.required and not self._column.vocabulary:
            # One visible character is enough; the pattern costs less than a look at the text in Python.
            return core_schema.chain_schema([core_schema.str_schema(pattern=r"\S"), inner])
        return inner


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
