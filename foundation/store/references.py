"""The keys that rows may refer to, kept in memory as what is missing among whole numbers that stand close together.

SQLite looks each reference up by itself, which takes a fifth of the time of a load. Where the keys of the parents are
whole numbers with few gaps, as numbered records are, a chunk of references is told to lead somewhere at a look.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from foundation.schema import Source
from foundation.store.database import Store, quote

MOST_GAPS = 16_384  # numbers that are no key; they take 1.5 MB


class _Keys(NamedTuple):
    """All whole numbers from the least to the greatest but for the gaps."""

    least: int
    greatest: int
    gaps: frozenset[int]

    def lacking(self, values: Collection[Any]) -> Collection[Any]:
        """Those of *values* that are none of the keys."""
        if not {int}.issuperset(map(type, values)):  # a validator of somebody's own may give anything
            return values
        lacking = self.gaps.intersection(values)
        if self.least <= min(values) and max(values) <= self.greatest:
            return lacking
        return lacking.union(value for value in values if not self.least <= value <= self.greatest)


class Parents:
    """The keys that rows of a source may refer to, if they are known."""

    def __init__(self, store: Store, references: Mapping[str, str], most: int, most_gaps: int = MOST_GAPS) -> None:
        self._store = store
        self._version = self._seen()  # first: who writes from here on is noticed
        self._keys = {column: _keys(store, parent, most, most_gaps) for column, parent in references.items()}

    @property
    def are_known(self) -> bool:
        """Whether those of each reference are."""
        return None not in self._keys.values()

    def doubtful(self, column: str, values: Collection[Any]) -> Collection[Any]:
        """Those of *values* that may be no key of what *column* refers to; all others are, in the open transaction."""
        if self._seen() != self._version:  # another program has written; there is no telling what
            self._keys = dict.fromkeys(self._keys)
        keys = self._keys[column]
        return keys.lacking(values) if keys and values else values

    def _seen(self) -> int:
        version: int = self._store.execute("PRAGMA data_version").fetchone()[0]
        return version


def _keys(store: Store, parent: str, most: int, most_gaps: int) -> _Keys | None:
    key, table = key_of(store, parent), quote(parent)
    least, greatest = store.execute(f"SELECT min({key}), max({key}) FROM {table}").fetchone()
    if not isinstance(least, int) or greatest - least >= most:
        return None
    (count,) = store.execute(f"SELECT count(*) FROM {table}").fetchone()
    if greatest - least + 1 - count > most_gaps:
        return None
    gaps: list[int] = []
    if greatest - least + 1 > count:
        found, behind = store.execute(f"SELECT {key} FROM {table} ORDER BY {key}"), least
        while keys := [key for (key,) in found.fetchmany(1_000)]:
            if keys[-1] - behind >= len(keys):
                gaps += sorted(set(range(behind, keys[-1])).difference(keys))
            behind = keys[-1] + 1
    return _Keys(least, greatest, frozenset(gaps))


@contextmanager
def known_parents(
    store: Store, source: Source, size: int, *, min_size: int, bytes_per_key: int
) -> Iterator[Parents | None]:
    """The parents that a file with *size* bytes still to be read refers to, if they can be known and that is worth it.

    That takes *min_size*, and *bytes_per_key* for each key that there may be. Then SQLite does not look for them
    meanwhile: who stores rows has to.
    """
    references = source.references
    is_worth_it = size >= min_size and references and source.name not in references.values()
    if is_worth_it and (parents := Parents(store, references, size // bytes_per_key)).are_known:
        with store.foreign_keys_off():
            yield parents
    else:
        yield None


@lru_cache(maxsize=64)
def key_of(store: Store, table: str) -> str:
    """The quoted name of the key column of a table."""
    (key,) = store.execute("SELECT name FROM pragma_table_info(?) WHERE pk = 1", (table,)).fetchone()
    return quote(key)
