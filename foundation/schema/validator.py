"""A chunk × a source → the rows that are valid, and every reason why the others are not.

A field is text. What pydantic would read from it is narrowed to what a column of that type may look like in a file:
plain digits, plain decimal numbers, `YYYY-MM-DD HH:MM:SS`. Timestamps stay text once they match that pattern: going
through `datetime` and back costs more than everything else together.

A chunk is validated column by column, on the fast path where that is enough, else in one call of pydantic; the records
that are rejected are validated once more, for all their reasons.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from itertools import compress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from foundation.errors import Code, Stage
from foundation.reader import SHOWN, Chunk, Damaged, Error
from foundation.schema.fastpath import shortcut
from foundation.schema.source import Column, Source

Value = str | int | float | None
Row = tuple[Value, ...]  # values of a record, an empty text for a missing one as in the file, and the record's number

_SQLITE_INTEGER = Field(ge=-(2**63), le=2**63 - 1)  # a column's own constraints come after and narrow it
_IN_CALENDAR = "a day that exists in the calendar"
_FEW = 100  # texts that are not worth halving
_INVALID = ...  # no validator gives it


class Verdict(NamedTuple):
    """What came of a chunk: the valid rows, column by column, and the numbers of their records.

    `rejected` are the others, in the order of the file.
    """

    columns: list[Sequence[Value]]
    records: Sequence[int]
    rejected: list[Damaged]

    @property
    def rows(self) -> list[Row]:
        """The valid rows, each with the number of its record as last value; they are made anew each time."""
        return list(zip(*self.columns, self.records, strict=True))


def judge(source: Source, chunk: Chunk) -> Verdict:
    """Sort the records of *chunk* into rows that are valid in *source* and rejected records with all their reasons.

    An empty field is a missing value, and so is a required text of nothing but white space.
    """
    if not chunk.records:
        return Verdict([()] * len(source.columns), (), chunk.damaged)
    invalid: set[int] = set()
    validators = zip(_column_validators(source), chunk.columns, strict=True)
    columns = [validate(texts, invalid) for validate, texts in validators]
    if not invalid:
        return Verdict(columns, chunk.records, chunk.damaged)
    indexes = sorted(invalid)
    rows = [tuple(texts[index] for texts in chunk.columns) for index in indexes]
    rejected = [
        Damaged(chunk.records[index], errors, source.key_text(source.key_of(row)))
        for index, row, errors in zip(indexes, rows, _errors_of(source, rows), strict=True)
    ]
    columns = [without(indexes, values) for values in columns]
    return Verdict(columns, without(indexes, chunk.records), sorted([*chunk.damaged, *rejected]))


def without(indexes: list[int], values: Sequence[Any]) -> list[Any]:
    """The values but for those at these indexes, which are in order."""
    left: list[Any] = []
    start = 0
    for index in indexes:
        if start < index:
            left += values[start:index]
        start = index + 1
    left += values[start:]
    return left


class _ColumnValidator:
    """Validates the texts of one column."""

    def __init__(self, column: Column) -> None:
        annotated: Any = _annotated(column)
        self._is_optional = not column.required
        self._validate_all = TypeAdapter(list[annotated]).validate_python
        self._validate_each = TypeAdapter(list[Annotated[annotated, _or_else(_INVALID)]]).validate_python
        self._shortcut = shortcut(column, self._validate_all)

    def __call__(self, texts: Sequence[str], invalid: set[int]) -> Sequence[Value]:
        """The values of the texts; the indexes of those that are not valid go to *invalid*."""
        if not self._is_optional or all(texts):
            return self._validate(texts, invalid, range(len(texts)))
        present = list(filter(None, texts))
        values = self._validate(present, invalid, list(compress(range(len(texts)), texts))) if present else present
        if values is present:
            return texts
        left = iter(values)
        return [text and next(left) for text in texts]

    def _validate(self, texts: Sequence[str], invalid: set[int], indexes: Sequence[int]) -> Sequence[Value]:
        if self._shortcut and (values := self._shortcut(texts)) is not None:
            return values
        if not self._shortcut or len(texts) <= _FEW:
            return self._validate_by_pydantic(texts, invalid, indexes)
        half = len(texts) // 2  # what the fast path does not know may be in one of them only
        before = self._validate(texts[:half], invalid, indexes[:half])
        return [*before, *self._validate(texts[half:], invalid, indexes[half:])]

    def _validate_by_pydantic(self, texts: Sequence[str], invalid: set[int], indexes: Sequence[int]) -> Sequence[Value]:
        try:
            return self._validate_all(texts)
        except ValidationError:
            values = self._validate_each(texts)
        invalid.update(index for index, value in zip(indexes, values, strict=True) if value is _INVALID)
        return values


def _errors_of(source: Source, rows: list[tuple[Any, ...]]) -> list[list[Error]]:
    """For each of these rows every reason why it is not valid."""
    errors: list[list[Error]] = [[] for _ in rows]
    try:
        _row_validator(source).validate_python([[text or None for text in row] for row in rows])
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_context=False, include_input=False):
            index, position = int(error["loc"][0]), int(error["loc"][1])
            value = rows[index][position]
            errors[index].append(_error(source.columns[position], error["type"], error["msg"], value))
    return errors


def _error(column: Column, code: str, message: str, value: str) -> Error:
    if value == "" or (column.required and value.isspace()):
        code, message = Code.MISSING, "Field required"
    elif column.format and code.endswith("_parsing"):
        message = f"Input should be written as it is declared: {column.format.pattern}"
    elif code == "float_parsing":
        message = "Input should be a plain decimal number that can be kept as it is, of about 15 digits"
    return Error(Stage.SCHEMA, code, column.name, value[:SHOWN], message)


@lru_cache(maxsize=64)
def _column_validators(source: Source) -> list[_ColumnValidator]:
    """One for each column, built once for each source."""
    return [_ColumnValidator(column) for column in source.columns]


@lru_cache(maxsize=64)
def _row_validator(source: Source) -> TypeAdapter[list[Row]]:
    """Finds all that is wrong with rows."""
    row: Any = tuple.__class_getitem__(tuple(map(_annotated, source.columns)))
    return TypeAdapter(list[row])


def reader_of(column: Column) -> Callable[[Sequence[str]], list[Value]]:
    """A function that gives the values of texts as *column* has them, None for those that are not valid."""
    annotated: Any = Annotated[_annotated(column), _or_else(None)]
    return TypeAdapter(list[annotated]).validate_python


def _or_else(default: object) -> GetPydanticSchema:
    """Gives something else where there is an error."""
    return GetPydanticSchema(
        lambda kind, handler: core_schema.with_default_schema(handler(kind), default=default, on_error="default")
    )


def _annotated(column: Column) -> Any:
    """The type of a column as pydantic reads it from text."""
    kind: Any = column.kind if column.column_type.is_number else str
    if column.vocabulary:
        kind = Literal[column.vocabulary]
    constraints = tuple(c for c in column.constraints if c is not column.format)
    if column.kind is int:
        constraints = (_SQLITE_INTEGER, *constraints)
    elif column.column_type.is_time:
        constraints = tuple(map(_as_text, constraints))
    annotated: Any = Annotated[(kind, *constraints, _as_written(column))]
    return annotated if column.required else annotated | None


def _as_text(constraint: Any) -> Any:
    """A bound for timestamps as a bound for their texts, which sort alike."""
    if not is_dataclass(constraint) or isinstance(constraint, type):
        return constraint
    return replace(constraint, **{n: str(v) for n, v in asdict(constraint).items() if isinstance(v, date)})


def _as_written(column: Column) -> GetPydanticSchema:
    """Narrows what pydantic reads from a text to how a file writes the column."""
    steps = []
    if column.format:  # from that to the usual one
        read = _text(partial(column.format.read, kind=column.kind))
        steps.append(_or_error(f"{column.kind.__name__}_parsing", read, _IN_CALENDAR))
    if usual := _usual_text(column):
        steps.append(usual)
    return GetPydanticSchema(lambda kind, handler: core_schema.chain_schema([*steps, handler(kind)]))


def _usual_text(column: Column) -> CoreSchema | None:
    """What a text of the column's type looks like, if not any will do."""
    pattern = f"^{column.column_type.pattern}$"
    plain = core_schema.str_schema(pattern=pattern)
    match column.kind.__name__:
        case "datetime":  # a `T` in its middle becomes a space
            with_t = _text(lambda text: text.replace("T", " "), pattern.replace(" ", "T"))
            return _or_error("datetime_parsing", _either(plain, with_t), "YYYY-MM-DD HH:MM:SS and in the calendar")
        case "date":
            return _or_error("date_parsing", plain, _IN_CALENDAR)
        case "int":
            return _or_error("int_parsing", plain)
        case "float":  # up to 15 digits a float holds as they stand
            short = core_schema.str_schema(pattern=r"^-?[0-9]+(?:\.[0-9]+)?$", max_length=15)
            return _or_error("float_parsing", _either(short, _text(_require_exact, pattern)))
    if column.required and not column.vocabulary:
        # One visible character is enough; the pattern costs less than a look at the text in Python.
        return core_schema.str_schema(pattern=r"\S")
    return None


def _text(read: Callable[[str], str], pattern: str | None = None) -> CoreSchema:
    return core_schema.no_info_after_validator_function(read, core_schema.str_schema(pattern=pattern))


def _either(first: CoreSchema, second: CoreSchema) -> CoreSchema:
    return core_schema.union_schema([first, second], mode="left_to_right")


def _or_error(code: Any, schema: CoreSchema, wanted: str = "") -> CoreSchema:
    context = {"error": wanted} if wanted else None
    return core_schema.custom_error_schema(schema, custom_error_type=code, custom_error_context=context)


def _require_exact(text: str) -> str:
    if Decimal(text) != Decimal(repr(float(text))):
        raise ValueError
    return text
