"""Files with faults whose place, reason and outcome are known, because they are put into sound files here."""

import re
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

import foundation
from foundation.schema.source import Source
from tests.support.fault_kinds import KINDS, Draft, Kind, Value, roles

Clean = Mapping[str, list[dict[str, str]]]  # the rows of each source

SOURCES = {source.name: source for source in foundation.SOURCES}
CHUNK = 7  # records; the places are those of a chunk of this size
_BOM = b"\xef\xbb\xbf"

# The index of a record, the name of its place, and whether it is made to have several lines (None: now and then).
PLACES: list[tuple[int, str, bool | None]] = [
    (0, "first of the file", None), (6, "last of a chunk", False), (10, "in the middle", False),
    (14, "first of a chunk", False), (27, "last of a chunk", True), (31, "in the middle", True),
    (35, "first of a chunk", True), (-1, "last of the file", None),
]  # fmt: skip


class Style(NamedTuple):
    """What a whole file may be like."""

    bom: bool = False
    ends: tuple[bytes, ...] = (b"\n",)
    quoted: bool = False  # every field
    blanks: bool = False  # blank lines here and there
    shuffled: bool = False  # columns in another order
    open_end: bool = False  # no final newline


STYLES = [
    Style(), Style(bom=True), Style(ends=(b"\r\n",)), Style(ends=(b"\n", b"\r\n", b"\r\n")), Style(quoted=True),
    Style(blanks=True), Style(shuffled=True), Style(open_end=True), Style(True, (b"\r\n",), True, True, True, True),
]  # fmt: skip


class Truth(NamedTuple):
    """What must become of a record: refused for these reasons (column and code), or stored as this row."""

    record: int
    line: int
    last_line: int
    start: int
    end: int
    reasons: list[tuple[str, str]]
    row: tuple[Value, ...]
    kind: str
    place: str


class File(NamedTuple):
    """The bytes of a file, and the truth of all its records."""

    data: bytes
    truths: list[Truth]


class Fault(NamedTuple):
    """A kind, put at a place."""

    kind: Kind
    place: str
    is_broad: bool


def corpus(clean: Clean, seed: int) -> dict[str, list[File]]:
    """Files in which every kind stands once at each of the places, in a source that changes with the *seed*."""
    dice = Random(seed)  # noqa: S311  # nothing secret
    kinds: dict[str, list[Kind]] = {
        name: [] for name, source in SOURCES.items() if any("text" in roles(source, c) for c in source.columns)
    }
    fitting = {kind: [name for name in kinds if kind.fits(SOURCES[name])] for kind in dice.sample(KINDS, len(KINDS))}
    for kind in sorted(fitting, key=lambda kind: len(fitting[kind])):
        min((kinds[name] for name in fitting[kind]), key=len).append(kind)
    return {
        name: [_file(SOURCES[name], clean[name], some, seed + number) for number in range(len(some))]
        for name, some in kinds.items()
    }


def _file(source: Source, clean: list[dict[str, str]], kinds: list[Kind], number: int) -> File:
    size = 42 + number % 3  # so that the last record may also be the first or the last of a chunk
    faults = {}
    for slot, (at, place, is_broad) in enumerate(PLACES):
        kind = kinds[(number + 5 * slot) % len(kinds)]
        if not kind.is_last or at == -1:
            faults[at % size] = Fault(kind, place, number % 4 < 2 if is_broad is None else is_broad)
    return build(source, clean, faults, size=size, style=STYLES[number % len(STYLES)], seed=number)


def build(
    source: Source,
    clean: list[dict[str, str]],
    faults: Mapping[int, Fault],
    *,
    size: int,
    style: Style = STYLES[0],
    seed: int = 0,
) -> File:
    """A file of *size* records with *faults* at their indexes; the *clean* ones are used in turn, with keys from 1."""
    dice, columns = Random(seed), list(source.columns)  # noqa: S311
    if style.shuffled:
        dice.shuffle(columns)
    drafts = []
    for number in range(1, size + 1):
        values = clean[number % len(clean)] | {source.key: str(number)}
        drafts.append(Draft(source, columns, [values[c.name] for c in columns], dice, style.quoted))
    for at, fault in faults.items():
        if at + 2 < size and at + 2 not in faults:
            drafts[at + 2].quote()  # so that a field left open ends nowhere else
        drafts[at].shape(is_broad=fault.is_broad, is_plain=fault.kind.is_plain)
    for at, fault in faults.items():
        fault.kind.damage(drafts, at)
    return _assemble(drafts, faults, style)


def _assemble(drafts: list[Draft], faults: Mapping[int, Fault], style: Style) -> File:
    data = _BOM * style.bom + b",".join(drafts[0].written(c.header) for c in drafts[0].columns) + style.ends[0]
    truths, line, seen = [], 2, set()
    for number, draft in enumerate(drafts):
        end = style.ends[number % len(style.ends)]
        if style.blanks and number % 3 == 0:
            data, line = data + end, line + 1
        body = b",".join(draft.fields)
        reasons, row = _outcome(draft, body, seen)
        is_open = draft is drafts[-1] and (style.open_end or draft.is_cut)
        raw = body if is_open else body + end
        fault = faults.get(number)
        name = f"{fault.kind.name}{', several lines' * fault.is_broad}" if fault else "sound"
        last_line = line + raw[:-1].count(b"\n")
        place = (number + 1, line, last_line, len(data), len(data) + len(raw))
        truths.append(Truth(*place, reasons, row, name, fault.place if fault else ""))
        data, line = data + raw, line + raw.count(b"\n")
    return File(data + b"\n\r\n" * (style.blanks and data.endswith(b"\n")), truths)


def _outcome(draft: Draft, body: bytes, seen: set[Value]) -> tuple[list[tuple[str, str]], tuple[Value, ...]]:
    """Reasons or row; the first record with a key that is not refused for anything else has it."""
    if draft.reasons:
        return sorted((column, code or damage_of(body)) for column, code in draft.reasons), ()
    row = draft.row()
    key = row[draft.source.position(draft.source.key)]
    if key in seen:
        return [(draft.source.key, "duplicate_key")], ()
    seen.add(key)
    return [], row


def damage_of(body: bytes) -> str:
    """The first damage of a record whose quotes do not hold, by the strict grammar.

    A line feed outside quotes is one that quotes stood around: the one that is left is the stray one.
    """
    at = 0
    while found := _FIELD.match(body, at):
        start, at = at, found.end()
        if body[at : at + 1] == b",":
            at += 1
        elif body[at : at + 1] == b'"' and at == start:
            return "unclosed_quote"
        else:
            assert at < len(body), f"nothing is wrong with {body!r}"
            return "stray_quote"
    raise AssertionError("a field can always be found")


_FIELD = re.compile(rb'"(?:[^"]|"")*+"|[^",\r\n]*')
