"""A proposed source as Python text, with what speaks for each line of it, and what does not, as comments."""

import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from foundation.errors import visible
from foundation.infer.columns import WORDS, ColumnFacts
from foundation.schema import Format, Record, Source, with_parents

_WIDTH = 110  # columns of a line, about
_USED = {"Annotated", "Field", "Format", "Literal", "Record", "int", "float", "str", "dt"}
_TIMES = {"datetime", "date"}


@dataclass
class Field:
    """A column as it will be declared; *form* is a format of its type, *parent* the table that it refers to."""

    facts: ColumnFacts
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
    def is_indexed(self) -> bool:
        """Whether one would look for records by it."""
        is_small = 1 < self.facts.distinct <= min(WORDS, self.facts.filled // 2) and self.facts.longest <= 40
        return not self.is_key and bool(self.parent or self.kind in _TIMES or (is_small and self.kind != "float"))

    def lines(self, prefix: str) -> Iterator[str]:
        """Its declaration, the doubts before it; *prefix* is that of the names of types of times."""
        yield from _comments(self.doubts, "    ")
        facts, optional = self.facts, " | None" if self.is_optional else ""
        declared = f"    {self.name}: {self._annotation(prefix)}{optional}{self._default()}"
        evidence = self.evidence or ([f"{facts.distinct:,} different"] if facts.filled else [])
        empty = [f"{facts.empty:,} of {facts.records:,} empty"] if facts.empty else []
        blank = [f"{facts.blank:,} hold white space only"] if facts.blank else []
        comment = "; ".join([*evidence, *empty, *blank])
        if len(declared) + len(comment) < _WIDTH:
            yield f"{declared}  # {comment}" if comment else declared
        else:
            yield from _comments([comment], "    ", "")
            yield declared

    def _annotation(self, prefix: str) -> str:
        kind = prefix + self.kind if self.kind in _TIMES else self.kind
        if self.form:
            return f"Annotated[{kind}, Format({_quoted(self.form.pattern)})]"
        if not self.vocabulary:
            return kind
        words = [_quoted(word) for word in self.vocabulary]
        if len(", ".join(words)) < _WIDTH - 40:
            return f"Literal[{', '.join(words)}]"
        return "Literal[\n        " + ",\n        ".join(words) + ",\n    ]"

    def _default(self) -> str:
        options = [f"alias={_quoted(self.facts.header)}"] if self.name != self.facts.header else []
        fit = self.facts.fitting()
        if self.kind == "int" and (self.is_key or self.parent) and fit and fit.min > 0:
            options.append("gt=0")
        if not options:
            return " = None" if self.is_optional else ""
        return f" = Field({', '.join(['None'] * self.is_optional + options)})"


@dataclass
class Proposal:
    """All that is proposed for a file; *doubts* are those about its records, the fields have their own."""

    file_name: str
    records: int
    table: str
    fields: list[Field]
    doubts: list[str]
    known: Sequence[Source]
    written: Mapping[str, str]  # keywords of the class that say how its files are called and written; empty: as usual

    @property
    def is_whole(self) -> bool:
        """Whether it accepts every record of the file."""
        return not self.doubts

    @property
    def text(self) -> str:
        """The Python text: a docstring, imports, the class."""
        hides = bool(_TIMES & {field.name for field in self.fields})  # a field of such a name would hide the type
        body = "\n".join(line for field in self.fields for line in field.lines("dt." if hides else ""))
        title = f'"""Drafted from {self._title}, {self.records:,} records; what is not sure is marked `doubt`."""'
        return f"{title}\n\n{self._imports(body, hides=hides)}\n\n\n{self._head()}{body}\n"

    @property
    def _title(self) -> str:
        return visible(self.file_name, 60).replace("\\", "\\\\").replace('"', "'")

    def _head(self) -> str:
        """The class without its fields."""
        name = "".join(part.capitalize() for part in singular(self.table).split("_"))
        name += "_" * (keyword.iskeyword(name) or name in _USED)
        keys = ", ".join(_quoted(field.name) for field in self.fields if field.is_key)
        written = {option: _quoted(value) for option, value in self.written.items() if value}
        options = {"table": _quoted(self.table), "key": f"({keys})" if ", " in keys else keys, **written}
        references = [f"{_quoted(field.name)}: {_quoted(field.parent)}" for field in self.fields if field.parent]
        if references:
            options["references"] = f"{{{', '.join(references)}}}"
        lines = [*_comments(self.doubts, ""), f"class {name}(", "    Record,"]
        lines += [f"    {option}={value}," for option, value in options.items()]
        if indexes := [f"({_quoted(field.name)},)," for field in self.fields if field.is_indexed]:
            lines.append("    indexes=[  # keep those by which you look for records: each makes a load longer")
            lines += [f"        {line}" for line in wrap(" ".join(indexes), _WIDTH - 8)] + ["    ],"]
        return "\n".join([*lines, "):", f'    """A record of {self._title}."""', "", ""])

    def _imports(self, body: str, *, hides: bool) -> str:
        """The imports in three groups; of the classes that it refers to, some can only be said to be elsewhere."""
        standard = ["import datetime as dt"] if hides else []
        if not hides and (times := sorted(name for name in _TIMES if re.search(rf": {name}\b|\[{name}\b", body))):
            standard.append(f"from datetime import {', '.join(times)}")
        if typing := [name for name in ("Annotated", "Literal") if f": {name}[" in body]:
            standard.append(f"from typing import {', '.join(typing)}")
        ours = [f"from foundation import {'Format, ' * ('Format(' in body)}Record"]
        parents = {name for field in self.fields if field.parent for name in with_parents(self.known, [field.parent])}
        homes = sorted(source.home for source in self.known if source.name in parents)
        for module in dict.fromkeys(home.partition(":")[0] for home in homes if ":" in home):
            names = [home.partition(":")[2] for home in homes if home.startswith(f"{module}:")]
            ours.append(f"from {module} import {', '.join(names)}  # what it refers to")
        files = dict.fromkeys(home for home in homes if ":" not in home)
        ours += [f"# It refers to classes of {visible(file)}: put it there, behind them." for file in files]
        pydantic = "from pydantic import Field" * ("= Field(" in body)
        return "\n\n".join(filter(None, ["\n".join(standard), pydantic, "\n".join(ours)]))


def _comments(texts: Iterable[str], indent: str, mark: str = "doubt: ") -> Iterator[str]:
    for text in texts:
        yield from wrap(f"{mark}{text}", _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")


def _quoted(text: str) -> str:
    """A text as Python has it, in double quotes where it can be."""
    return repr(text) if '"' in text else '"' + repr("'" + text)[2:]


def singular(name: str) -> str:
    """The word for one of what a table is named after, roughly."""
    return re.sub(r"(?<![su])s$", "", re.sub(r"ies$", "y", name))


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
