"""A record with a column of every type."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from foundation.schema.record import Record


def not_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven is not allowed")
    return number


class Every(Record, table="every", key="key"):
    """A column of every type, each in both forms: required and not."""

    key: int = Field(gt=0)
    whole: int | None = None
    number: float | None = None
    moment: datetime | None = None
    day: date | None = None
    text: str | None = None
    word: Literal["Yes", "No", 'it\'s "so", so'] | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    amount: float | None = Field(None, ge=0)
    short: str | None = Field(None, max_length=3)
    since: datetime | None = Field(None, ge=datetime(2025, 1, 1), lt=datetime(2026, 1, 1))
    odd: Annotated[int, AfterValidator(not_seven)] | None = None
    must_whole: int
    must_number: float
    must_moment: datetime
    must_text: str
    must_word: Literal["Yes", "No"]
