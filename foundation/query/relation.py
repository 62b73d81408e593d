"""What can be queried: a table, a view or a SELECT, with its columns, its key and its references."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from foundation.errors import QueryError
from foundation.query.conditions import WORDS, Condition, Term, condition
from foundation.schema import STORED_TYPES, Source
from foundation.store import quote

Ask = Callable[..., Any]  # `rows` of an engine: SQL and what is bound to it


@dataclass(frozen=True, eq=False)
class Relation:
    """Rows with named columns; *origin* is what stands behind FROM, *values* is bound to its question marks.

    Without a *key* rows may be the same. *references* are the tables whose keys the columns hold; *indexes* have
    their columns in order, the key being one without a name.
    """

    name: str
    origin: str
    columns: Mapping[str, Term]
    values: tuple[Any, ...] = ()
    key: tuple[str, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    relations: Mapping[str, "Relation"] = field(default_factory=dict, repr=False)  # where references lead

    @property
    def types(self) -> dict[str, str]:
        """The SQL type of each column, in order."""
        return {name: term.kind for name, term in self.columns.items()}

    def term(self, name: str) -> Term:
        """The column of this name; `reference.column` is that column of the row referred to.

        Raises QueryError that tells what there is.
        """
        if name in self.columns:
            return self.columns[name]
        reference, _, column = name.partition(".")
        if reference in self.references:
            parent = self.relations[self.references[reference]]
            if column not in parent.columns:  # references are followed one step only
                raise QueryError(f"{parent.name} has no column {column!r}; it has {', '.join(parent.columns)}")
            found = parent.columns[column]
            required = found.required and self.columns[reference].required
            return found._replace(name=name, sql=f"{_alias(reference)}.{quote(column)}", required=required)
        followed = "".join(f"; {column}.… are those of {parent}" for column, parent in self.references.items())
        raise QueryError(f"{self.name} has no column {name!r}; it has {', '.join(self.columns)}{followed}")

    def condition(self, told: str, value: Any) -> tuple[Term, Condition]:
        """What `column=value` or `column__word=value` asks for, and of which column."""
        name, _, word = told.rpartition("__")
        if told in self.columns or word not in WORDS:
            name, word = told, ""
        term = self.term(name)
        return term, condition(term, word, value)

    def index_for(self, order: Sequence[str]) -> str | None:
        """The index that has most of the columns of *order* at its begin; None if none has the first."""
        alike = {
            name: len(list(takewhile(lambda pair: pair[0] == pair[1], zip(order, columns, strict=False))))
            for name, columns in self.indexes.items()
        }
        best = max(alike, key=lambda name: alike[name], default="")
        return best if alike.get(best) else None

    def from_sql(self, used: Iterable[Term], *, index: str | None = None) -> str:
        """What stands behind FROM, with the tables joined to which the *used* columns belong; *index* must be used."""
        joined = {name.partition(".")[0] for name, *_ in used if name not in self.columns}
        joins = [
            f" LEFT JOIN {parent.origin} AS {_alias(column)}"
            f" ON {_alias(column)}.{quote(parent.key[0])} = t.{quote(column)}"
            for column, table in self.references.items()
            if column in joined and (parent := self.relations[table])
        ]
        hint = "" if index is None else f" INDEXED BY {quote(index)}" if index else " NOT INDEXED"
        return f"{self.origin} AS t{hint}{''.join(joins)}"


def _alias(reference: str) -> str:
    return quote(f"r_{reference}")


def tables(ask: Ask, sources: Mapping[str, Source]) -> dict[str, Relation]:
    """The tables and views of a database, those of the ledger left out; the *sources* tell which texts are times."""
    names = ask(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT GLOB '_*' "
        "AND name NOT GLOB 'sqlite_*' ORDER BY type, rowid"
    ).fetchall()
    found: dict[str, Relation] = {}
    for (name,) in names:
        found[name] = _table(ask, name, sources.get(name), found)
    return found


def _table(ask: Ask, name: str, source: Source | None, found: Mapping[str, Relation]) -> Relation:
    times = {c.name for c in source.columns if c.column_type.is_time} if source else set()
    listed = ask(
        "SELECT name, type, \"notnull\" OR pk, pk FROM pragma_table_info(?) WHERE name NOT GLOB '_*'", (name,)
    ).fetchall()
    columns: dict[str, Term] = {}
    for column, kind, required, _ in listed:
        known = kind if kind in STORED_TYPES else ""
        columns[column] = Term(column, f"t.{quote(column)}", known, bool(required), column in times)
    key = tuple(column for column, *_, pk in sorted(listed, key=lambda row: row[-1]) if pk)
    parents = ask('SELECT "from", "table" FROM pragma_foreign_key_list(?) ORDER BY id DESC', (name,)).fetchall()
    indexed = ask(
        "SELECT i.name, c.name FROM pragma_index_list(?) i, pragma_index_info(i.name) c "
        "WHERE NOT i.partial ORDER BY i.name, c.seqno",
        (name,),
    ).fetchall()
    indexes = {index: tuple(column for of, column in indexed if of == index) for index, _ in indexed}
    indexes = {"": key, **indexes} if key else indexes
    return Relation(name, quote(name), columns, (), key, dict(parents), indexes, found)


def selected(ask: Ask, sql: str, values: Sequence[Any]) -> Relation:
    """The rows of a SELECT with question marks for *values*, as a relation whose columns are those it gives."""
    bare = sql.strip().rstrip(";").strip()
    origin = f"(\n{bare}\n)"  # a comment on its last line ends there
    names = [name for name, *_ in ask(f"SELECT * FROM {origin} LIMIT 0", values).description]
    columns = {name: Term(name, f"t.{quote(name)}", "", required=False) for name in names}
    return Relation("the result", origin, columns, tuple(values))
