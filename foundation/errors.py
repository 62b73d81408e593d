"""Everything that can go wrong, as one tree.

FoundationError
├── SchemaError         a declared source cannot become a table, or does not match one
├── SourceError         a CSV file is refused before its first record
├── StoreError          the database cannot be opened, read or written
├── QueryError          a query names something that the database does not have
└── ReportError         a report cannot be made

Mistakes in calling a function stay `ValueError` and `TypeError`. A record that is rejected is no error: it is kept with
the `Stage` that it did not pass and the `Code` of each reason.
"""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, auto


class Word(StrEnum):
    """A word of a closed list, shown as the text that tables, JSON and messages have."""

    __repr__ = str.__repr__


class Stage(Word):
    """What a file or a record did not pass, in this order."""

    FILE = auto()
    DECODE = auto()
    PARSE = auto()
    SCHEMA = auto()
    RELATION = auto()
    KEY = auto()


class Code(Word):
    """Why it did not pass; in the stage schema all codes but MISSING are pydantic's."""

    NOT_FOUND = auto()
    NOT_UNPACKED = auto()
    NOT_TEXT = auto()
    EMPTY_FILE = auto()
    MISSING_COLUMN = auto()
    DUPLICATE_COLUMN = auto()
    INVALID_UTF8 = auto()
    INVALID_ENCODING = auto()
    NUL_BYTE = auto()
    TOO_FEW_FIELDS = auto()
    TOO_MANY_FIELDS = auto()
    STRAY_QUOTE = auto()
    UNCLOSED_QUOTE = auto()
    BARE_CARRIAGE_RETURN = auto()
    FIELD_TOO_LARGE = auto()
    MISSING = auto()
    ORPHAN = auto()
    PARENT_REJECTED = auto()
    DUPLICATE_KEY = auto()


class FoundationError(Exception):
    """The base of all errors of this package; its text is one paragraph for the user."""


class SchemaError(FoundationError):
    """A declared source cannot become a table, or does not match the one in the database."""


class SourceError(FoundationError):
    """A CSV file is refused before its first record.

    `code` is one of `not_found`, `not_unpacked`, `not_text`, `empty_file`, `missing_column`, `duplicate_column`.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["SourceError"], tuple[Code, str]]:
        """Pickle both arguments: errors of workers are raised again here."""
        return SourceError, (self.code, str(self))


class StoreError(FoundationError):
    """The database cannot be opened, read or written."""


class QueryError(FoundationError):
    """A query names something that the database does not have."""


class ReportError(FoundationError):
    """A report cannot be made."""


@contextmanager
def extra(name: str, why: str) -> Iterator[None]:
    """Wrap imports of packages that only an extra installs; *why* says what they are for.

    Raises FoundationError, with the command that installs them, when one is missing.
    """
    try:
        yield
    except ImportError as error:
        raise FoundationError(f"{error.name} is not here; {why}: pip install 'foundation[{name}]'") from error


def visible(text: str, limit: int = 200) -> str:
    r"""*text* from a file as it may stand in a message or a terminal, cut to *limit* characters.

    Control, bidirectional and other characters that show nothing are written as escapes (`\n`, `\u202e`).
    """
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(
        c if unicodedata.category(c)[0] not in "CZ" or c == " " else c.encode("unicode_escape").decode() for c in cut
    )
