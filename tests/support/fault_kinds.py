"""The kinds of fault: ways to damage a record whose outcome is known, and odd things that are legal.

What has no one truth is left out: a line inside a damaged record that looks like a record itself, or, where quotes are
damaged, begins like one, with a number and a separator; a field of several lines that has lost both its quotes
(nothing tells it from two short records); a field left open that the next quote of the file closes (nothing tells the
records between from its text); a carriage return as the only end of a line, or at the end of a file, where it may be
half a line end; bytes that are no UTF-8 in a record whose quotes or separators are damaged, too; white space alone in
a required column of numbers; `+1.5`, `.5`, `-0.0` as amounts; records above 16 MiB, which are not kept whole.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import NamedTuple

from foundation.schema.source import Column, Source
from tests.support.fault_values import FIELDS, FORMS, LISTS

REFUSED_PARENT, KEYLESS_PARENT, NO_PARENT = "777777", "888888", "999999"  # the second is written 888_888 in its file
LARGEST = 4 * 2**20  # bytes; the largest field that is legal
FAR = 19  # records; further than a chunk of seven, and meeting no other place of a fault
Value = str | int | float | None


def roles(source: Source, column: Column) -> set[str]:
    """What a column can be asked for by."""
    kind = {int: "whole", float: "amount", str: "text"}.get(column.kind, "moment")
    kind = "word" if column.vocabulary else kind
    found = {"any", column.name, kind, f"{'required' if column.required else 'optional'} {kind}"}
    found |= {"key", "positive"} if column.name == source.key else set()
    return found | ({"reference", "positive"} if column.name in source.references else set())


@dataclass
class Draft:
    """A record in the making; columns, values and fields stand in the order of the file."""

    source: Source
    columns: list[Column]
    values: list[str]
    dice: Random
    is_quoted: bool  # every field
    fields: list[bytes] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)  # column, code; no column: the record as a whole
    broad: int = -1  # the column with line breaks
    is_cut: bool = False  # the file ends here

    def __post_init__(self) -> None:
        self.fields = [self.written(value) for value in self.values]

    def written(self, text: str) -> bytes:
        is_quoted = self.is_quoted or any(mark in text for mark in ',"\r\n')
        return ('"' + text.replace('"', '""') + '"' if is_quoted else text).encode()

    def put(self, at: int, text: str) -> None:
        self.values[at], self.fields[at] = text, self.written(text)

    def find(self, role: str) -> list[int]:
        return [at for at, column in enumerate(self.columns) if role in roles(self.source, column)]

    def pick(self, role: str) -> int:
        """A column of this role, if possible not the one with line breaks."""
        found = self.find(role)
        return self.dice.choice([at for at in found if at != self.broad] or found)

    def refuse(self, code: str, at: int | None = None) -> None:
        self.reasons.append(("" if at is None else self.columns[at].name, code))

    def garble(self, at: int, text: str) -> None:
        """Put a text that fits into a column of texts only."""
        column = self.columns[at]
        self.put(at, text)
        if column.vocabulary or column.kind is not str:
            self.refuse("literal_error" if column.vocabulary else f"{column.kind.__name__}_parsing", at)

    def quote(self) -> None:
        """Put quotes around every field."""
        self.is_quoted = True
        self.fields = [self.written(value) for value in self.values]

    def shape(self, *, is_broad: bool, is_plain: bool) -> None:
        """Make it a record of several lines, or of one; a plain one may have a line that begins like a record."""
        for at, value in enumerate(self.values):
            self.put(at, value.replace("\n", ", "))
        if is_broad:
            self.broad = self.pick("text")
            tail = self.dice.choice(['\nb "c"', " a\n\nb c,\nd", '"\nb, c', "\n45, b"][: 3 + is_plain])
            self.put(self.broad, (self.values[self.broad] or "a") + tail)

    def row(self) -> tuple[Value, ...]:
        """What is to be stored, in the order of the source."""
        stored = {column.name: _stored(column, text) for column, text in zip(self.columns, self.values, strict=True)}
        return tuple(stored[column.name] for column in self.source.columns)


def _stored(column: Column, text: str) -> Value:
    if not text and not column.required:
        return None
    return column.kind(text) if column.kind in (int, float, str) else text.replace("T", " ")


Damage = Callable[[Draft], None]


class Kind(NamedTuple):
    """One kind of fault, for sources that have a column of the role; *damage* may touch another record, too."""

    name: str
    role: str
    damage: Callable[[list[Draft], int], None]
    is_plain: bool = True  # quotes and other records stay as they are: any record may stand beside it
    is_last: bool = False  # only at the end of a file

    def fits(self, source: Source) -> bool:
        return any(self.role in roles(source, column) for column in source.columns)


def _single(name: str, role: str, damage: Damage, *, is_plain: bool = True, is_last: bool = False) -> Kind:
    return Kind(name, role, lambda records, at: damage(records[at]), is_plain, is_last)


def _field_kinds() -> Iterator[Kind]:
    for role, code, texts in FIELDS:
        for text in texts:
            yield _single(f"{code or 'legal'}: {role} {text[:30]!a}", role, partial(_fill, role, code, text))


def _fill(role: str, code: str, text: str, draft: Draft) -> None:
    at = draft.pick(role)
    word = (draft.columns[at].vocabulary or ("",))[0]
    draft.put(at, text.format(word=word, lower=word.lower(), swapped=word.swapcase()) if "word" in role else text)
    if code:
        draft.refuse(code, at)


def _form_kinds() -> Iterator[Kind]:
    for codes, forms in FORMS:
        for form in forms:
            name = f"{codes or 'quotes'}: {form[:30]!a}"
            yield _single(name, "any", partial(_reform, codes, form), is_plain=bool(codes))


def _reform(codes: str, form: str, draft: Draft) -> None:
    first = len(draft.fields) // 2 if form.startswith('"{v}\n') else 0  # its last line must not look like a record
    stop = len(draft.fields) - form.endswith("\r")  # at the end of a line a carriage return is legal
    plain = [at for at in range(first, stop) if re.fullmatch(r'[^",\r\n]{2,}', draft.values[at])]
    at = draft.dice.choice(plain)
    value = draft.values[at]
    cut = draft.dice.randrange(1, len(value))
    text = form.format(v=value, head=value[:cut], tail=value[cut:])
    draft.fields[at] = text.encode(errors="surrogateescape")
    for code in codes.split() or [""]:
        draft.refuse(code, at if code in ("nul_byte", "invalid_utf8") else None)


def _list_kinds() -> Iterator[Kind]:
    for code, name, change in LISTS:
        is_cut = name.startswith("cut off")
        yield _single(f"{code}: {name}", "any", partial(_change, code, change, is_cut=is_cut), is_last=is_cut)


def _change(code: str, change: Callable[[list[bytes]], list[bytes]], draft: Draft, *, is_cut: bool = False) -> None:
    draft.fields, draft.is_cut = change(draft.fields), is_cut
    draft.refuse(code)


def _record_kinds() -> Iterator[Kind]:
    yield _single("a byte order mark", "any", lambda draft: draft.garble(0, "\ufeff" + draft.values[0]))
    yield _single("a second header", "any", partial(_head, before=""))
    yield _single("a second header behind a byte order mark", "any", partial(_head, before="\ufeff"))
    yield _single("separators alone", "any", partial(_empty, text=""))
    yield _single("something bad in every column", "any", partial(_empty, text="?"))
    yield _single("legal: a record in a field", "text", _embed)
    orphan, refused, keyless = (NO_PARENT, "orphan"), (REFUSED_PARENT, "parent_rejected"), (KEYLESS_PARENT, "orphan")
    for parents in [orphan], [refused], [keyless], [orphan, orphan], [refused, orphan], [orphan, refused]:
        name = " and ".join(f"{code} {key}" for key, code in parents)
        yield _single(name, "reference", partial(_relate, parents))
    yield _single(
        "a bad date and no parent", "reference", lambda draft: (_relate([(NO_PARENT, "")], draft), _date(draft))
    )


def _head(draft: Draft, before: str) -> None:
    for at, column in enumerate(draft.columns):
        draft.garble(at, before * (at == 0) + column.header)


def _empty(draft: Draft, text: str) -> None:
    """Nothing in any field, or a text that fits into none."""
    for at, column in enumerate(draft.columns):
        if text and at not in draft.find("text"):
            draft.garble(at, text)
        else:
            draft.put(at, "")
            if column.required:
                draft.refuse("missing", at)


def _embed(draft: Draft) -> None:
    draft.put(draft.pick("text"), "a\n" + b",".join(draft.fields).decode() + "\nb")


def _relate(parents: list[tuple[str, str]], draft: Draft) -> None:
    places = draft.find("reference") if len(parents) > 1 else [draft.pick("reference")]
    for at, (key, code) in zip(places, parents, strict=False):
        draft.put(at, key)
        if code:
            draft.refuse(code, at)


def _date(draft: Draft) -> None:
    draft.garble(draft.pick("required moment"), "?")


def _pair_kinds() -> Iterator[Kind]:
    """A key that another record has, which is before it but at the start of a file; of a refused one it is free."""
    spoils: list[tuple[str, str, Damage]] = [
        ("duplicate_key", "any", lambda draft: None),
        ("legal: key of one with a bad date", "any", _date),
        ("legal: key of one with too few fields", "any", partial(_change, "too_few_fields", lambda f: f[:-1])),
        ("legal: key of one with a NUL byte", "any", partial(_reform, "nul_byte", "{head}\0{tail}")),
        ("legal: key of an orphan", "reference", partial(_relate, [(NO_PARENT, "orphan")])),
    ]
    for name, role, spoil in spoils:
        for distance in 1, FAR:
            yield Kind(f"{name}, {distance} before", role, partial(_repeat, spoil, distance, str), is_plain=False)
    with_zeros = partial(_repeat, spoils[0][2], 1, lambda key: key.zfill(9))
    yield Kind("duplicate_key, with zeros", "any", with_zeros, is_plain=False)


def _repeat(spoil: Damage, distance: int, write: Callable[[str], str], records: list[Draft], at: int) -> None:
    first, second = (at - distance, at) if at >= distance else (at, at + distance)
    key = records[first].pick("key")
    records[second].put(key, write(records[first].values[key]))
    spoil(records[first])


KINDS = [*_field_kinds(), *_form_kinds(), *_list_kinds(), *_record_kinds(), *_pair_kinds()]
