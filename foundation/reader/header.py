"""The first line of a file: its columns, where the wanted ones stand, and what to do when it cannot be read."""

import codecs
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from foundation.errors import Code, SourceError, visible
from foundation.reader.dialect import Layout
from foundation.reader.grammar import FAULTS, Parser
from foundation.reader.recovery import decode
from foundation.reader.splitter import BLOCK, Lines

_BOM = b"\xef\xbb\xbf"
_MAX_COLUMNS = 10_000
_SEPARATORS = ",;\t|"  # those that a header is searched for when it does not have the declared one
_FOREIGN = {
    b"PK\x03\x04": "a zip archive, perhaps a spreadsheet (.xlsx); export it as CSV",
    b"\x1f\x8b": "compressed with gzip; let its name end with .gz, or unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; let its name end with .zst, or unpack it",
    b"\xff\xfe": "UTF-16 text; export it as UTF-8",
    b"\xfe\xff": "UTF-16 text; export it as UTF-8",
}


def require_encoding(file: BinaryIO, path: Path | str, layout: Layout) -> None:
    """Raise SourceError when the start of a file is UTF-8, where another encoding is declared."""
    if (declared := layout.dialect.encoding) == "utf-8":
        return
    start = file.read(BLOCK)
    file.seek(0)
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(start)  # its last character may be cut off
        if not start.isascii():
            what = f"UTF-8, where encoding={declared!r} is declared; declare 'utf-8', or convert the file"
            raise SourceError(Code.NOT_TEXT, f"{path}: the text is {what}")


def read_header(lines: Lines, path: Path | str, layout: Layout) -> tuple[list[str], list[int], bytes, list[str]]:
    """Read the header, blank lines before it included, and find the wanted columns in it.

    Gives the names of all columns, where in a record each wanted one stands, the lines before the first record, and
    the names that are not wanted. Raises SourceError when it cannot be read, or wanted columns are missing or doubled.
    """
    blank: list[bytes] = []
    while (line := lines.line()) and not line.removeprefix(_BOM).strip(b"\r\n"):
        blank.append(line)
    if not line:
        raise SourceError(Code.EMPTY_FILE, f"{path}: the file is empty; its first line should name the columns")
    for magic, what in _FOREIGN.items():
        if line.startswith(magic):
            raise SourceError(Code.NOT_TEXT, f"{path}: no CSV text but {what}")
    parser = Parser([line.removeprefix(_BOM)], partial(lines.take, 1), _MAX_COLUMNS, layout.dialect.delimiter)
    parsed = parser.parse(0)
    names, errors = decode([""] * len(parsed.fields), parsed.fields, layout.dialect.encoding)
    if parsed.fault or errors:
        fault = FAULTS[parsed.fault] if parsed.fault else errors[0].message
        hint = _other_separator(line.decode(errors="replace"), layout) or _other_encoding(line, layout)
        raise SourceError(Code.NOT_TEXT, f"{path}: its first line cannot be read as column names: {fault}{hint}")
    positions = _find_columns(names, path, layout)
    unknown = [name for name in names if layout.headers and name not in layout.headers]
    return names, positions, b"".join([*blank, line, *parser.lines[1:]]), unknown


def _find_columns(names: list[str], path: Path | str, layout: Layout) -> list[int]:
    wanted = layout.headers or names
    if missing := [name for name in wanted if name not in names]:
        hint = _other_separator(names[0], layout) if len(names) == 1 else ""
        message = f"{path}: the header lacks {listed(missing)}{hint}; it has {listed(names)}"
        raise SourceError(Code.MISSING_COLUMN, f"{message}, where {listed(list(wanted))} are wanted")
    if doubled := [name for name in dict.fromkeys(wanted) if names.count(name) > 1]:
        message = f"{path}: the header has {listed(doubled)} more than once; keep one of them"
        raise SourceError(Code.DUPLICATE_COLUMN, message)
    if not layout.headers and len(names) == 1 and (hint := _other_separator(names[0], layout)):
        raise SourceError(Code.NOT_TEXT, f"{path}: its first line names a single column{hint}")
    return [names.index(name) for name in wanted]


def _other_encoding(line: bytes, layout: Layout) -> str:
    try:
        line.decode(layout.dialect.encoding)
    except UnicodeDecodeError:
        way = "declare its encoding, such as encoding='cp1252'" if layout.headers else "draft it with --encoding"
        return f"; export the file as UTF-8, or {way}"
    return ""


def _other_separator(header: str, layout: Layout) -> str:
    own = layout.dialect.delimiter
    other = None if own in header else next((mark for mark in _SEPARATORS if mark in header), None)
    if not other:
        return ""
    way = f"declare delimiter={other!r}" if layout.headers else f"draft it with --delimiter {other!r}"
    seems = f"; the fields seem to be separated by {other!r}, export the file with"
    return f"{seems} {'commas' if own == ',' else repr(own)}, or {way}"


def listed(names: list[str]) -> str:
    """The first of these names, as a message shows them."""
    shown = ", ".join(visible(name, 40) for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"
