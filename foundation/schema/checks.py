"""The SQL of declared checks: a part of SQL with one meaning in SQLite and DuckDB, read when a class is declared.

Every expression gets its kind and its text for both engines, in parentheses: neither the precedence of operators nor
the types that an engine guesses decide what is counted. `docs/rules.md` has the words and what they mean.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Literal, NamedTuple

from foundation.errors import SchemaError

Dialect = Literal["sqlite", "duckdb"]
_TOKENS = re.compile(
    r"""'(?:[^']|'')*'|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?\b|"[^"]+"|IS\s+NOT\b|NOT\s+(?:IN|BETWEEN|GLOB|LIKE)\b"""
    r"""|[^\W\d]\w*|\|\||<>|[<>!=]=|\S""",
    re.I,
)
_KINDS: dict[type, str] = {int: "whole number", float: "number", str: "text", datetime: "time", date: "time"}
_BROADER = {"whole number": "number", "time": "text"}
# How closely an operator binds, the kind that it takes ("" for any two that are alike), the kind that it gives.
_COMPARED = ("", "condition")
_OPERATORS: dict[str, tuple[int, str, str]] = {
    "OR": (1, "condition", "condition"),
    "AND": (2, "condition", "condition"),
    **dict.fromkeys(("=", "==", "<>", "!=", "IS", "IS NOT"), (4, *_COMPARED)),
    **dict.fromkeys(("IN", "NOT IN", "BETWEEN", "NOT BETWEEN"), (4, *_COMPARED)),
    **dict.fromkeys(("GLOB", "NOT GLOB", "LIKE", "NOT LIKE"), (4, "text", "condition")),
    **dict.fromkeys(("<", "<=", ">", ">="), (5, *_COMPARED)),
    **dict.fromkeys(("+", "-"), (6, "number", "")),
    "*": (7, "number", ""),
    "/": (7, "number", "number"),
    "%": (7, "whole number", "whole number"),
    "||": (8, "text", "text"),
}
# Where the engines differ: of two whole numbers SQLite's `/` gives one, and what is divided by 0 is an error in DuckDB.
_SQLITE = {"/": "({} * 1.0 / {})"}
_DUCKDB = {
    "/": "({} / nullif({}, 0))",
    "%": "({} % nullif({}, 0))",
    "IS": "({} IS NOT DISTINCT FROM {})",
    "IS NOT": "({} IS DISTINCT FROM {})",
    "GLOB": "regexp_full_match({}, {}, 's')",
    "NOT GLOB": "(NOT regexp_full_match({}, {}, 's'))",
}
# Of each function the kinds that it takes, how many of them it needs, and the kind that it gives.
_FUNCTIONS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "abs": (("number",), 1, ""),
    "coalesce": (("",) * 8, 2, ""),
    "instr": (("text", "text"), 2, "whole number"),
    "julianday": (("time",), 1, "number"),
    "length": (("text",), 1, "whole number"),
    **dict.fromkeys(("ltrim", "rtrim", "trim"), (("text", "text"), 1, "text")),
    "nullif": (("", ""), 2, ""),
    "substr": (("text", "whole number", "whole number"), 2, "text"),
}
_INSTEAD = {
    **dict.fromkeys(("date", "datetime", "time", "strftime"), "compare the texts, or take substr() or julianday()"),
    **dict.fromkeys(("lower", "upper"), "write GLOB with both cases, as in '[Aa]*'"),
    **{"exists": "write (SELECT 1 FROM … WHERE …) IS NOT NULL", "ifnull": "write coalesce()", "iif": "write CASE"},
}
_OTHER_WORDS = {"NOT", "NULL", "TRUE", "FALSE", "CASE", "WHEN", "THEN", "ELSE", "END", "SELECT", "FROM", "AS", "WHERE"}


class Check(NamedTuple):
    """An expression: the kind of its values, "" where it is not known, and how each engine takes it."""

    kind: str
    sqlite: str
    duckdb: str

    def sql(self, dialect: Dialect) -> str:
        """How this engine takes it."""
        return self.duckdb if dialect == "duckdb" else self.sqlite


def parse_check(text: str, table: str, columns: Mapping[str, type]) -> Check:
    """The condition that a plausible row of *table* meets, whose columns have these types.

    Raises SchemaError for what does not mean the same to both engines.
    """
    parser = _Parser(text, table, columns)
    check = parser.expression()
    parser.expect("")
    _require_kind("a check", "condition", check)
    return check


def _made(kind: str, template: str, *parts: Check, duckdb: str = "") -> Check:
    sqlite = template.format(*(part.sqlite for part in parts))
    return Check(kind, sqlite, (duckdb or template).format(*(part.duckdb for part in parts)))


def _require_kind(what: str, kind: str, *parts: Check) -> str:
    """The kind of all these: *kind*, or one if that is empty, for a text and a number have no order of their own."""
    for part in parts:
        if kind and part.kind and kind not in (part.kind, _BROADER.get(part.kind)):
            raise SchemaError(f"{what} takes a {kind}, and {part.sqlite} is a {part.kind}")
    kinds = {part.kind for part in parts if part.kind}
    kinds = kinds if len(kinds) < 2 else {_BROADER.get(one, one) for one in kinds}
    if len(kinds) > 1:
        raise SchemaError(f"{what} takes values that are alike, not a {' and a '.join(sorted(kinds))}")
    return kinds.pop() if kinds else ""


class _Parser:
    """Reads an expression by the precedence of SQLite's operators."""

    def __init__(self, text: str, table: str, columns: Mapping[str, type]) -> None:
        self._table = table.lower()
        self._columns = {name.lower(): _KINDS[kind] for name, kind in columns.items()}
        self._depth = 0  # of sub-SELECTs
        tokens = [(" ".join(token.upper().split()), token) for token in _TOKENS.findall(text)]
        if any(token in ("'", '"') for _, token in tokens):
            raise SchemaError("a quote is not closed")
        self._tokens = [word if word in _OPERATORS or word in _OTHER_WORDS else token for word, token in tokens]

    def _peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _take(self, word: str) -> bool:
        return self._peek() == word and bool(self._tokens.pop(0))

    def expect(self, word: str) -> None:
        """Pass this word, or the end if it is empty; raises SchemaError if another one is there."""
        if self._peek() != word:
            raise SchemaError(f"{word or 'its end'} is expected, not {self._peek() or 'its end'}")
        del self._tokens[:1]

    def expression(self, level: int = 0) -> Check:
        """What is there up to an operator that binds no closer than *level*."""
        left = self._operand()
        while self._peek() in _OPERATORS and _OPERATORS[self._peek()][0] > level:
            word = self._tokens.pop(0)
            binds, takes, gives = _OPERATORS[word]
            template = f"({{}} {word} {{}})"
            if word.endswith("IN"):
                self.expect("(")
                right = self._list()
                template = f"({{}} {word} ({', '.join(['{}'] * len(right))}))"
            elif word.endswith("BETWEEN"):
                right = [self.expression(binds)]
                self.expect("AND")
                right.append(self.expression(binds))
                template = f"({{}} {word} {{}} AND {{}})"
            elif word.endswith(("GLOB", "LIKE")):
                right = [self._pattern(word)]
            else:
                right = [self.expression(binds)]
            kind = _require_kind(word, takes, left, *right)
            left = _made(gives or kind, _SQLITE.get(word, template), left, *right, duckdb=_DUCKDB.get(word, template))
        return left

    def _list(self) -> list[Check]:
        items = [self.expression()]
        while self._take(","):
            items.append(self.expression())
        self.expect(")")
        return items

    def _pattern(self, word: str) -> Check:
        if not (token := self._peek()).startswith("'"):
            raise SchemaError(f"the pattern of {word} is a text, written there, not {token}")
        self._tokens.pop(0)
        if word.endswith("GLOB"):
            return Check("text", token, "'" + _regex_of(token[1:-1]) + "'")
        if any(character.isalpha() for character in token):
            raise SchemaError(f"LIKE ignores case in SQLite only: write GLOB, with * and ?, for LIKE {token}")
        return Check("text", token, token)

    def _operand(self) -> Check:
        word = self._tokens.pop(0) if self._tokens else ""
        match word:
            case "NULL" | "TRUE" | "FALSE":
                return Check("" if word == "NULL" else "condition", word, word)
            case "CASE":
                return self._case()
            case "(":
                inner = self._select() if self._take("SELECT") else self.expression()
                self.expect(")")
                return inner
            case "NOT":
                operand = self.expression(3)
                return _made(_require_kind(word, "condition", operand), "(NOT {})", operand)
            case "-":
                operand = self._operand()
                return _made(_require_kind(word, "number", operand), "(- {})", operand)
        return self._value(word)

    def _value(self, word: str) -> Check:
        if word in _OTHER_WORDS or not re.match(r"[\w'\"]", word):
            raise SchemaError(f"a value is expected, not {word or 'its end'}")
        if word[0] == "'":
            return Check("text", word, word)
        if word.isdigit() and len(word) < 19:
            return Check("whole number", word, f"CAST({word} AS BIGINT)")
        if word[0].isdigit():
            real = word if "e" in word.lower() else f"{word}e0"  # DuckDB would count in decimals
            return Check("number", real, real)
        return self._function(word.lower()) if self._take("(") else self._column(word)

    def _column(self, word: str) -> Check:
        table, name = (word, self._tokens.pop(0)) if self._take(".") and self._tokens else ("", word)
        is_own = table.strip('"').lower() == self._table
        if self._depth and not is_own:  # perhaps of the other table
            text = f"{table}.{name}" if table else name
            return Check("", text, text)
        if table and not is_own:
            raise SchemaError(f"there is no table {table}")
        if not (kind := self._columns.get(name.strip('"').lower())):
            raise SchemaError(f"there is no column {name}")
        quoted = ".".join(f'"{part}"' for part in (table.strip('"'), name.strip('"')) if part)
        return Check(kind, quoted, quoted)

    def _function(self, name: str) -> Check:
        if name not in _FUNCTIONS:
            remedy = _INSTEAD.get(name, f"there are {', '.join(_FUNCTIONS)}")
            raise SchemaError(f"{name}() is not the same in SQLite and DuckDB, or not known: {remedy}")
        takes, needed, gives = _FUNCTIONS[name]
        items = self._list()
        if not needed <= len(items) <= len(takes):
            raise SchemaError(f"{name}() takes {needed} to {len(takes)} values, not {len(items)}")
        for kind, item in zip(takes, items, strict=False):
            _require_kind(f"{name}()", kind, item)
        kind = gives or _require_kind(f"{name}()", "", *items)
        if name.endswith("trim") and len(items) == 1:  # DuckDB would take other blanks away, too
            items.append(Check("text", "' '", "' '"))
        return _made(kind, f"{name}({', '.join(['{}'] * len(items))})", *items)

    def _select(self) -> Check:
        """A value of another table; of several the least, since which one is the first is left to the engine."""
        self._depth += 1
        value = self.expression()
        self.expect("FROM")
        table = self._tokens.pop(0) if self._tokens else ""
        if self._take("AS") or self._peek() not in ("WHERE", ")"):
            table += f" {self._tokens.pop(0) if self._tokens else ''}"
        if not re.fullmatch(r'(\w+|"[^"]+")( (\w+|"[^"]+"))?', table):
            raise SchemaError(
                f"a sub-SELECT is `SELECT value FROM table name WHERE condition`, and {table} is no table"
            )
        self.expect("WHERE")
        where = self.expression()
        self._depth -= 1
        _require_kind("WHERE", "condition", where)
        return _made(value.kind, "(SELECT min({}) FROM {} WHERE {})", value, Check("", table, table), where)

    def _case(self) -> Check:
        compared = [] if self._peek() == "WHEN" else [self.expression()]
        parts, values, template = [*compared], list[Check](), "CASE {}" if compared else "CASE"
        while not values or self._peek() == "WHEN":
            self.expect("WHEN")
            parts.append(self.expression())
            _require_kind("CASE", "" if compared else "condition", *compared, parts[-1])
            self.expect("THEN")
            values.append(self.expression())
            parts.append(values[-1])
            template += " WHEN {} THEN {}"
        if self._take("ELSE"):
            values.append(self.expression())
            parts.append(values[-1])
            template += " ELSE {}"
        self.expect("END")
        return _made(_require_kind("CASE", "", *values), f"({template} END)", *parts)


def _regex_of(pattern: str) -> str:
    """A pattern of GLOB as a regular expression: to GLOB of DuckDB a character is a byte, and `[^` is unknown."""
    regex = ""
    for part in re.findall(r"\[\^?\]?[^\]]*\]|.", pattern, re.S):
        if part == "[":
            raise SchemaError(f"the pattern '{pattern}' has a [ without its ]")
        if len(part) > 1:
            escaped = re.sub(r"([][^&~|\\])", r"\\\1", part[1:-1].removeprefix("^"))
            regex += f"[^{escaped}]" if part[1] == "^" else f"[{escaped}]"
        else:
            regex += {"*": ".*", "?": ".", "'": "'"}.get(part) or re.escape(part)
    return regex
