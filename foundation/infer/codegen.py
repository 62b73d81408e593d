"""A proposed source as Python text, with what speaks for each line of it, and what does not, as comments."""

import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from foundation.errors import visible
from foundation.infer.columns import WORDS, Facts
from foundation.schema.formats import Format
from foundation.schema.record import Record
from foundation.schema.source import Source, with_parents

_WIDTH = 110  # columns of a line, about
_USED = {"Annotated", "Field", "Format", "Literal", "Record", "int", "float", "str", "dt"}
_TIMES = {"datetime", "date"}


@dataclass
class Field:
    """A column as it will be declared; *form* is a format of its type, *parent* the table that it refers to."""

    facts: Facts
    name: str
    kind: str = "str"
    form: Format | None = None
    vocabulary: tuple[str, ...] = ()
    parent: str = ""
    is_key: bool = False
    evidence: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def is_optional(self) -> bool:
        """Whether records may come without it; white space alone is no text."""
        blank = self.facts.blank if self.kind == "str" and not self.vocabulary else 0
        return not self.is_key and self.facts.empty + blank > 0

    @property
    def is_text(self) -> bool:
        """Whether it is declared as a text of any words."""
        return self.kind == "str" and not self.vocabulary

    @property
    def is_indexed(self) -> bool:
        """Whether one would look for records by it."""
        is_small = 1 < self.facts.distinct <= min(WORDS, self.facts.filled // 2) and self.facts.longest <= 40
        return not self.is_key and bool(self.parent or self.kind in _TIMES or (is_small and self.kind != "float"))


@dataclass
class Proposal:
    """All that is proposed for a file."""

    file_name: str
    records: int
    table: str
    fields: list[Field]
    doubts: list[str]
    known: Sequence[Source]
    written: Mapping[str, str]  # keywords of the class that tell how its files are called and written; empty: as usual

    def text(self) -> str:
        """The Python text: a docstring, imports, the class."""
        hides = bool(_TIMES & {one.name for one in self.fields})  # a field of such a name would hide the type
        prefix = "dt." if hides else ""
        body = "\n".join(line for one in self.fields for line in _lines(one, self.records, prefix))
        title = f'"""Drafted from {self._title}, {self.records:,} records; what is not sure is marked `doubt`."""'
        imports = "\n\n".join(filter(None, [*_imports(body, hides=hides), "\n".join(self._parents(body))]))
        return f"{title}\n\n{imports}\n\n\n{self._head()}{body}\n"

    @property
    def _title(self) -> str:
        return visible(self.file_name, 60).replace("\\", "\\\\").replace('"', "'")

    def _head(self) -> str:
        keys = ", ".join(_quoted(one.name) for one in self.fields if one.is_key)
        name = "".join(part.capitalize() for part in singular(self.table).split("_"))
        name = f"{name}_" if keyword.iskeyword(name) or name in _USED else name
        references = {one.name: one.parent for one in self.fields if one.parent}
        indexes = [f"({_quoted(one.name)},)," for one in self.fields if one.is_indexed]
        lines = [*_comments(self.doubts, ""), f"class {name}(", "    Record,"]
        lines += [f"    table={_quoted(self.table)},", f"    key=({keys})," if ", " in keys else f"    key={keys},"]
        lines += [f"    {name}={_quoted(value)}," for name, value in self.written.items() if value]
        if references:
            told = ", ".join(f"{_quoted(column)}: {_quoted(table)}" for column, table in references.items())
            lines.append(f"    references={{{told}}},")
        if indexes:
            lines.append("    indexes=[  # keep those by which you look for records: each makes a load longer")
            lines += [f"        {line}" for line in wrap(" ".join(indexes), _WIDTH - 8)]
            lines.append("    ],")
        return "\n".join([*lines, "):", f'    """A record of {self._title}."""', "", ""])

    def _parents(self, body: str) -> Iterator[str]:
        """Where the classes come from that it stands on."""
        yield f"from foundation import {'Format, ' * ('Format(' in body)}Record"
        wanted = {name for one in self.fields if one.parent for name in with_parents(self.known, [one.parent])}
        homes = [source.home for source in self.known if source.name in wanted]
        for module in dict.fromkeys(home.partition(":")[0] for home in homes if ":" in home):
            names = sorted(home.partition(":")[2] for home in homes if home.startswith(f"{module}:"))
            yield f"from {module} import {', '.join(names)}  # what it refers to"
        for home in dict.fromkeys(home for home in homes if ":" not in home):
            yield f"# It refers to classes of {visible(home)}: put it there, behind them."


def _imports(body: str, *, hides: bool) -> Iterator[str]:
    standard = ["import datetime as dt"] if hides else []
    if not hides and (times := sorted(name for name in _TIMES if re.search(rf": {name}\b|\[{name}\b", body))):
        standard.append(f"from datetime import {', '.join(times)}")
    if typing := [name for name in ("Annotated", "Literal") if f": {name}[" in body]:
        standard.append(f"from typing import {', '.join(typing)}")
    yield "\n".join(standard)
    yield "from pydantic import Field" * ("= Field(" in body)


def _lines(one: Field, records: int, prefix: str) -> Iterator[str]:
    """The lines of a field, its doubts before it."""
    yield from _comments(one.doubts, "    ")
    declared = f"    {one.name}: {_kind(one, prefix)}{' | None' if one.is_optional else ''}{_default(one)}"
    different = [f"{one.facts.distinct:,} different"] if one.facts.filled else []
    missing = [f"{one.facts.empty:,} of {records:,} empty"] if one.facts.empty else []
    blank = [f"{one.facts.blank:,} hold white space only"] if one.facts.blank else []
    evidence = "; ".join([*(one.evidence or different), *missing, *blank])
    if len(declared) + len(evidence) < _WIDTH:
        yield f"{declared}  # {evidence}" if evidence else declared
    else:
        yield from _comments([evidence], "    ", "")
        yield declared


def _kind(one: Field, prefix: str) -> str:
    kind = prefix + one.kind if one.kind in _TIMES else one.kind
    if one.form:
        return f"Annotated[{kind}, Format({_quoted(one.form.pattern)})]"
    if not one.vocabulary:
        return kind
    words = ", ".join(map(_quoted, one.vocabulary))
    if len(words) < _WIDTH - 40:
        return f"Literal[{words}]"
    return "Literal[\n        " + ",\n        ".join(map(_quoted, one.vocabulary)) + ",\n    ]"


def _default(one: Field) -> str:
    given = [f"alias={_quoted(one.facts.header)}"] if one.name != one.facts.header else []
    least = one.facts.fitting()
    if one.kind == "int" and (one.is_key or one.parent) and least and least.least > 0:
        given.append("gt=0")
    if not given:
        return " = None" if one.is_optional else ""
    return f" = Field({', '.join([*['None'] * one.is_optional, *given])})"


def _comments(texts: Iterable[str], indent: str, mark: str = "doubt: ") -> Iterator[str]:
    for text in texts:
        yield from wrap(f"{mark}{text}", _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")


def _quoted(text: str) -> str:
    """A text as Python has it, in double quotes where it can be."""
    return repr(text) if '"' in text else '"' + repr("'" + text)[2:]


def singular(name: str) -> str:
    """The word for one of what a table is named after, roughly."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name.removesuffix("s") if len(name) > 3 and name[-3:] not in ("_us", "ess", "ass", "oss") else name


def identifier(text: str, instead: str) -> str:
    """A name like *text* that Python and the database take."""
    if not (text.isascii() and text.isidentifier()):
        text = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", text).lower()).strip("_")
        text = f"{instead}_{text}" if text and not text.isidentifier() else text
    text = text.lstrip("_")
    text = text if text.isidentifier() else instead
    return f"{text}_" if keyword.iskeyword(text) or text.lower().startswith("sqlite") else text


def names_of(header: Sequence[str]) -> list[str]:
    """A name for each column: its own, if Python and pydantic take that."""
    names: list[str] = []
    for at, title in enumerate(header, 1):
        name = identifier(title, "column")
        name += "_" * (hasattr(Record, name) or name in _USED or name.startswith("model_"))
        while name.lower() in {other.lower() for other in names}:
            name += f"_{at}"
        names.append(name)
    return names
