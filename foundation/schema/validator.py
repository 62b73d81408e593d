"""A chunk × a source → the rows that fit, and every reason why the others do not.

A field is text. What pydantic would read into it is narrowed to what a column of that type may look like in a file:
plain digits, plain decimal numbers, `YYYY-MM-DD HH:MM:SS`. Timestamps stay text behind that pattern: going through
`datetime` and back costs more than everything else together.

A chunk is judged column by column, at a look where that is enough, else in one call; records that are refused are
judged once more, for all their reasons.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from itertools import compress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from foundation.errors import Code, Stage
from foundation.reader.reader import Chunk, Damaged
from foundation.reader.recovery import SHOWN, Error
from foundation.schema.fastpath import shortcut
from foundation.schema.source import Column, Source

Value = str | int | float | None
Row = tuple[Value, ...]  # values of a record, an empty text for a missing one as in the file, and the record's number

_IN_CALENDAR = {"error": "a day that exists in the calendar"}
_SQLITE_INTEGER = Field(ge=-(2**63), le=2**63 - 1)  # a column's own constraints come after and narrow it
_MESSAGES = {"float_parsing": "Input should be a plain decimal number that can be kept as it is, of about 15 digits"}
_FEW = 100  # texts that are not worth a second look
_MISFIT = ...  # no validator gives it
_SHORT_DECIMAL = r"^-?[0-9]+(?:\.[0-9]+)?$"  # up to 15 digits a float holds as they stand


class Verdict(NamedTuple):
    """What came of a chunk: the rows that fit, column by column, and the numbers of their records.

    `rejected` are the others, in the order of the file.
    """

    columns: list[Sequence[Value]]
    records: Sequence[int]
    rejected: list[Damaged]

    @property
    def rows(self) -> list[Row]:
        """The rows that fit, each with the number of its record as last value; they are made anew each time."""
        return list(zip(*self.columns, self.records, strict=True))


def judge(source: Source, chunk: Chunk) -> Verdict:
    """Sort the records of *chunk* into rows that fit *source* and rejected records with all their reasons.

    An empty field is a missing value, and so is a required text of nothing but white space.
    """
    if not chunk.records:
        return Verdict([()] * len(source.columns), (), chunk.damaged)
    columns: list[Sequence[Value]] = []
    misfits: set[int] = set()
    for judged, texts in zip(_judges(source), chunk.columns, strict=True):
        columns.append(judged(texts, misfits))
    if not misfits:
        return Verdict(columns, chunk.records, chunk.damaged)
    wrong = sorted(misfits)
    refused = [tuple(texts[at] for texts in chunk.columns) for at in wrong]
    rejected = [
        Damaged(chunk.records[at], errors, source.key_text(source.key_of(row)))
        for at, row, errors in zip(wrong, refused, _reasons(source, refused), strict=True)
    ]
    columns = [without(wrong, values) for values in columns]
    return Verdict(columns, without(wrong, chunk.records), sorted([*chunk.damaged, *rejected]))


def without(wrong: list[int], values: Sequence[Any]) -> list[Any]:
    """The values but for those at these places, which are in order."""
    left: list[Any] = []
    start = 0
    for at in wrong:
        if start < at:
            left += values[start:at]
        start = at + 1
    left += values[start:]
    return left


class _Judge:
    """Judges the texts of one column."""

    def __init__(self, column: Column) -> None:
        reading: Any = _reading(column)
        self._is_optional = not column.required
        self._all = TypeAdapter(list[reading]).validate_python
        self._each = TypeAdapter(list[Annotated[reading, _OrElse(_MISFIT)]]).validate_python
        self._shortcut = shortcut(column, self._all)

    def __call__(self, texts: Sequence[str], misfits: set[int]) -> Sequence[Value]:
        """What is read from the texts; the places of those that do not fit go to *misfits*."""
        if not self._is_optional or all(texts):
            return self._read(texts, misfits, range(len(texts)))
        present = list(filter(None, texts))
        values = self._read(present, misfits, list(compress(range(len(texts)), texts))) if present else present
        if values is present:
            return texts
        left = iter(values)
        return [text and next(left) for text in texts]

    def _read(self, texts: Sequence[str], misfits: set[int], places: Sequence[int]) -> Sequence[Value]:
        if not self._shortcut:
            return self._asked(texts, misfits, places)
        values = self._shortcut(texts)
        if values is not None:
            return values
        if len(texts) <= _FEW:
            return self._asked(texts, misfits, places)
        half = len(texts) // 2  # what is odd may be in one of them only
        before = self._read(texts[:half], misfits, places[:half])
        return [*before, *self._read(texts[half:], misfits, places[half:])]

    def _asked(self, texts: Sequence[str], misfits: set[int], places: Sequence[int]) -> Sequence[Value]:
        """What pydantic reads."""
        try:
            return self._all(texts)
        except ValidationError:
            values = self._each(texts)
        misfits.update(place for place, value in zip(places, values, strict=True) if value is _MISFIT)
        return values


def _reasons(source: Source, refused: list[tuple[Any, ...]]) -> list[list[Error]]:
    """For each of these rows every reason why it does not fit."""
    reasons: list[list[Error]] = [[] for _ in refused]
    try:
        _rows(source).validate_python([[text or None for text in row] for row in refused])
    except ValidationError as refusal:
        for error in refusal.errors(include_url=False, include_context=False, include_input=False):
            at, position = int(error["loc"][0]), int(error["loc"][1])
            reason = _reason(source.columns[position], error["type"], error["msg"], refused[at][position])
            reasons[at].append(reason)
    return reasons


def _reason(column: Column, code: str, message: str, value: str) -> Error:
    if value == "" or (column.required and value.isspace()):
        return Error(Stage.SCHEMA, Code.MISSING, column.name, value[:SHOWN], "Field required")
    message = _MESSAGES.get(code, message)
    if column.format and code.endswith("_parsing"):
        message = f"Input should be written as it is declared: {column.format.pattern}"
    return Error(Stage.SCHEMA, code, column.name, value[:SHOWN], message)


@lru_cache(maxsize=64)
def _judges(source: Source) -> list[_Judge]:
    """One for each column, built once for each source."""
    return [_Judge(column) for column in source.columns]


@lru_cache(maxsize=64)
def _rows(source: Source) -> TypeAdapter[list[Row]]:
    """Tells all that is wrong with rows."""
    row: Any = tuple.__class_getitem__(tuple(map(_reading, source.columns)))
    return TypeAdapter(list[row])


def reader_of(column: Column) -> Callable[[Sequence[str]], list[Value]]:
    """A function that tells what texts are read as in *column*, None for those that do not fit."""
    reading: Any = Annotated[_reading(column), _OrElse(None)]
    return TypeAdapter(list[reading]).validate_python


class _OrElse:
    """Reads something else where there is an error."""

    def __init__(self, default: object) -> None:
        self._default = default

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(kind), default=self._default, on_error="default")


def _reading(column: Column) -> Any:
    """The type of a column as it is read from text."""
    kind: Any = column.kind if column.column_type.is_number else str
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
        pattern = f"^{self._column.column_type.pattern}$"
        match self._column.kind.__name__:
            case "datetime":
                return _timestamp(pattern)
            case "date":
                return _text(pattern, "date_parsing", _IN_CALENDAR)
            case "int":
                return _text(pattern, "int_parsing")
            case "float":
                return _decimal(pattern)
        if self._column.required and not self._column.vocabulary:
            # One visible character is enough; the pattern costs less than a look at the text in Python.
            return core_schema.str_schema(pattern=r"\S")
        return None


def _text(pattern: str, code: Any, context: dict[str, Any] | None = None) -> CoreSchema:
    text = core_schema.str_schema(pattern=pattern)
    return core_schema.custom_error_schema(text, custom_error_type=code, custom_error_context=context)


def _timestamp(pattern: str) -> CoreSchema:
    """Text like `2025-01-30 08:15:00` as it is; a `T` in its middle becomes a space."""
    plain = core_schema.str_schema(pattern=pattern)
    with_t = core_schema.no_info_after_validator_function(
        lambda text: text.replace("T", " "), core_schema.str_schema(pattern=pattern.replace(" ", "T"))
    )
    return core_schema.custom_error_schema(
        core_schema.union_schema([plain, with_t], mode="left_to_right"),
        custom_error_type="datetime_parsing",
        custom_error_context={"error": "YYYY-MM-DD HH:MM:SS and in the calendar"},
    )


def _decimal(pattern: str) -> CoreSchema:
    """Text like `12.50`, if a float holds it as it stands."""
    long = core_schema.no_info_after_validator_function(_require_exact, core_schema.str_schema(pattern=pattern))
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
