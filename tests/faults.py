"""Faults with ground truth: sound records are damaged here, so what must become of each is known beforehand.

A *kind* is one way to damage a record, or something odd that is legal. What is left out is what has no one truth:

- lines inside a damaged record that look like records themselves,
- a field of several lines that has lost both its quotes: nothing tells it from two short records,
- a carriage return as the only end of a line, or at the very end of a file, where it may be half a line end,
- white space alone in a required column that is no text, and signs like `+12.5` and `.5` in an amount.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from foundation import SOURCES
from foundation.source import Column, Source

CHUNK = 7  # records; the places below are those of a chunk of this size
LARGE = 4 * 2**20  # bytes; the largest field that is legal
PARENTS = {"refused": "777777", "keyless": "888888"}  # keys of parents that are refused, one as `888_888`
_BOM = b"\xef\xbb\xbf"

# Where a fault is put: index of the record, name of the place, whether the record has several lines (None: in turn).
PLACES: list[tuple[int, str, bool | None]] = [
    (0, "first of the file", None), (6, "last of a chunk", False), (10, "in the middle", False),
    (14, "first of a chunk", False), (27, "last of a chunk", True), (31, "in the middle", True),
    (35, "first of a chunk", True), (-1, "last of the file", None),
]  # fmt: skip


class Style(NamedTuple):
    """What is legal for a whole file."""

    bom: bool = False
    ends: tuple[bytes, ...] = (b"\n",)
    quoted: bool = False  # every field
    blanks: bool = False  # blank lines here and there
    shuffled: bool = False  # columns in another order
    open_end: bool = False  # no final newline


STYLES = [
    Style(), Style(bom=True), Style(ends=(b"\r\n",)), Style(ends=(b"\n", b"\r\n", b"\r\n")), Style(quoted=True),
    Style(blanks=True), Style(shuffled=True), Style(open_end=True),
    Style(bom=True, ends=(b"\r\n",), quoted=True, blanks=True, shuffled=True, open_end=True),
]  # fmt: skip


class Truth(NamedTuple):
    """What must become of a record: it is refused for these reasons (column, code), or stored as this row."""

    record: int
    line: int
    last_line: int
    start: int
    end: int
    reasons: list[tuple[str, str]]  # the column is empty when the whole record is meant
    row: tuple[str | int | float | None, ...]
    kind: str
    place: str


class File(NamedTuple):
    """A file, and the truth of all its records."""

    data: bytes
    truths: list[Truth]


@dataclass
class Draft:
    """A record in the making; columns, values and fields stand in the order of the file."""

    source: Source
    columns: list[Column]
    values: list[str]
    dice: Random
    quoted: bool
    reasons: list[tuple[str, str]] = field(default_factory=list)
    broad: int = -1  # the column with a line break
    is_cut: bool = False  # the file ends here

    def __post_init__(self) -> None:
        self.fields = [self.written(value) for value in self.values]

    def written(self, text: str) -> bytes:
        is_quoted = self.quoted or any(mark in text for mark in ',"\r\n')
        return ('"' + text.replace('"', '""') + '"' if is_quoted else text).encode()

    def put(self, at: int, text: str) -> None:
        self.values[at], self.fields[at] = text, self.written(text)

    def pick(self, role: str) -> int:
        """A column of this role, if possible not the one with the line break."""
        fitting = [at for at, column in enumerate(self.columns) if role in roles(self.source, column)]
        return self.dice.choice([at for at in fitting if at != self.broad] or fitting)

    def pick_plain(self, stop: int) -> int:
        """A column before *stop* with a text of two characters at least that needs no quotes."""
        plain = [at for at, value in enumerate(self.values[:stop]) if re.fullmatch(r'[^",\r\n]{2,}', value)]
        return self.dice.choice(plain)

    def refuse(self, code: str, at: int | None = None) -> None:
        self.reasons.append(("" if at is None else self.columns[at].name, code))

    def shape(self, *, broad: bool) -> None:
        """Make it a record of several lines, or of one."""
        for at, value in enumerate(self.values):
            self.put(at, value.replace("\n", ", "))
        if broad:
            self.broad = self.pick("text")
            self.put(self.broad, f"{self.values[self.broad]}{self.dice.choice([' a', '', '"'])}\n\nb c,\nd")

    def row(self) -> tuple[str | int | float | None, ...]:
        by_name = {c.name: v for c, v in zip(self.columns, self.values, strict=True)}
        return tuple(_stored(column, by_name[column.name]) for column in self.source.columns)


class Kind(NamedTuple):
    """One way to damage a record, for sources that have a column of a role."""

    name: str
    role: str
    damage: Callable[[list[Draft], int], None]
    is_torn: bool = False  # its quotes do not hold: the record behind it must be sound for its end to be known
    is_last: bool = False  # only at the end of a file


def roles(source: Source, column: Column) -> set[str]:
    kind = {int: "whole", float: "amount", str: "text"}.get(column.kind, "moment")
    kind = "word" if column.vocabulary else kind
    found = {"any", column.name, kind, f"{'required' if column.required else 'optional'} {kind}"}
    found |= {"key", "positive"} if column.name == source.key else set()
    return found | ({"reference", "positive"} if column.name in source.references else set())


def corpus(clean: Mapping[str, list[dict[str, str]]], seed: int) -> dict[str, list[File]]:
    """Files in which every kind stands once at each of the places, in a source that changes with the *seed*."""
    dice = Random(seed)
    sources = [source for source in SOURCES if any("text" in roles(source, column) for column in source.columns)]
    kinds: dict[str, list[Kind]] = {source.name: [] for source in sources}
    for number, kind in enumerate(KINDS):
        fitting = [s for s in sources if any(kind.role in roles(s, column) for column in s.columns)]
        kinds[fitting[(number + seed) % len(fitting)].name].append(kind)
    return {s.name: [_file(s, clean[s.name], kinds[s.name], n + seed, dice) for n in range(len(kinds[s.name]))]
            for s in sources}  # fmt: skip


def _file(source: Source, clean: list[dict[str, str]], kinds: list[Kind], number: int, dice: Random) -> File:
    size = 42 + number % 3  # so that the last record may also be the first or last of a chunk
    plan = {
        at % size: (kind, place, bool((number // len(STYLES)) % 2) if broad is None else broad)
        for slot, (at, place, broad) in enumerate(PLACES)
        if not (kind := kinds[(number + 5 * slot) % len(kinds)]).is_last or at == -1
    }
    return build(source, clean, plan, size=size, style=STYLES[number % len(STYLES)], dice=dice)


def build(
    source: Source, clean: list[dict[str, str]], plan: Mapping[int, tuple[Kind, str, bool]], *,
    size: int, style: Style, dice: Random,
) -> File:  # fmt: skip
    """A file of *size* records, those of the *plan* damaged; the clean ones are used in turn, with keys from 1."""
    columns = list(source.columns)
    if style.shuffled:
        dice.shuffle(columns)
    drafts = []
    for number in range(1, size + 1):
        values = clean[number % len(clean)] | {source.key: str(number)}
        drafts.append(Draft(source, columns, [values[c.name] for c in columns], dice, style.quoted))
    for at, (_, _, broad) in plan.items():
        drafts[at].shape(broad=broad)
    for at, (kind, _, _) in plan.items():
        kind.damage(drafts, at)
    return _assemble(drafts, plan, style)


def _assemble(drafts: list[Draft], plan: Mapping[int, tuple[Kind, str, bool]], style: Style) -> File:
    key, columns = drafts[0].source.key, drafts[0].columns
    data = (_BOM if style.bom else b"") + b",".join(drafts[0].written(c.header) for c in columns) + style.ends[0]
    truths, seen = [], set()
    for number, draft in enumerate(drafts):
        end = style.ends[number % len(style.ends)]
        data += end * (style.blanks and number % 3 == 0)
        body, line = b",".join(draft.fields), data.count(b"\n") + 1
        reasons = sorted((column, code or damage_of(body)) for column, code in draft.reasons)
        row = () if reasons else draft.row()
        if row and row[draft.source.position(key)] in seen:
            reasons, row = [(key, "duplicate_key")], ()
        elif row:
            seen.add(row[draft.source.position(key)])
        is_open = draft is drafts[-1] and (style.open_end or draft.is_cut)
        raw = body if is_open else body + end
        kind, place, broad = plan.get(number, (None, "", False))
        name = f"{kind.name}{', several lines' * broad}" if kind else "sound"
        last_line = line + body.count(b"\n")
        truths.append(Truth(number + 1, line, last_line, len(data), len(data) + len(raw), reasons, row, name, place))
        data += raw
    return File(data + b"\n\r\n" * (style.blanks and data.endswith(b"\n")), truths)


def damage_of(body: bytes) -> str:
    """The first damage of a record whose quotes do not hold, by the strict grammar.

    A line feed outside quotes is one that the quotes stood around: the other quote is the stray one.
    """
    at = 0
    while True:
        start, at = at, _FIELD.match(body, at).end()  # type: ignore[union-attr]  # it matches anything
        if body[at : at + 1] == b",":
            at += 1
        elif body[at : at + 1] == b"\r":
            return "bare_carriage_return"
        else:
            assert at < len(body), f"nothing is wrong with {body!r}"
            return "unclosed_quote" if body[at : at + 1] == b'"' and at == start else "stray_quote"


_FIELD = re.compile(rb'"(?:[^"]|"")*+"|[^",\r\n]*')


def _stored(column: Column, text: str) -> str | int | float | None:
    if not text and not column.required:
        return None
    return text.replace("T", " ") if column.kind.__name__ == "datetime" else column.kind(text)
