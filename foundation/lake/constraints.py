"""Keys and references of rows that lie in many files, checked by Dask's joins over the columns that matter.

What is refused is what a single machine refuses: a record whose parent is not stored, and of the others each that has
the key of one before it in the file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import dask.dataframe as dd
import fsspec
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from foundation.errors import Code
from foundation.lake.manifest import PartResult
from foundation.reader import Error
from foundation.schema import Source
from foundation.store import duplicate_key_error, orphan_error

JOIN_SIZE = 500_000  # records whose keys one task joins
Parent = tuple[str, Sequence[PartResult]]  # its key, and its parts that are there
_TEXT, _WHOLE = pd.ArrowDtype(pa.string()), pd.ArrowDtype(pa.int64())
_REASONS = {"part": _WHOLE, "record": _WHOLE, "column": _TEXT, "value": _TEXT, "code": _TEXT, "first": _WHOLE}
_EMPTY = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _REASONS.items()})
_PLAIN = {"_part": "part", "_record": "record"}


def _frame(out: str, size: int, files: Iterable[tuple[int, str, int]], kinds: Mapping[str, Any]) -> dd.DataFrame:
    """These columns of files in *out*, each given with number, name and rows; a task joins *size* rows."""
    groups: list[list[tuple[int, str]]] = [[]]
    taken = 0
    for number, name, rows in files:
        if groups[-1] and taken + rows > size:
            groups.append([])
            taken = 0
        groups[-1].append((number, name))
        taken += rows
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in {**kinds, "_part": _WHOLE}.items()})
    return dd.from_map(partial(_read, out, empty), groups, meta=empty)


def _read(out: str, empty: pd.DataFrame, group: Sequence[tuple[int, str]]) -> pd.DataFrame:
    names = [name for name in empty.columns if name != "_part"]
    frames = [empty]
    for number, file_name in group:
        with fsspec.open(f"{out}/{file_name}", "rb") as file:
            table = parquet.read_table(file, columns=names)
        frames.append(table.to_pandas(types_mapper=pd.ArrowDtype)[names].assign(_part=number))
    return pd.concat(frames, ignore_index=True).astype(empty.dtypes)


def find_rejected(
    out: str, source: Source, parts: Sequence[PartResult], parents: Mapping[str, Parent], *, size: int = JOIN_SIZE
) -> dd.DataFrame:
    """A row for each reason why a valid record cannot be stored; all those of a part in one partition.

    *parents* has for each column that refers to another source what is there of that.
    """
    frame, joined = partial(_frame, out, size), [c for c in source.columns if c.name in {*source.keys, *parents}]
    kinds = {c.name: pd.ArrowDtype(pa.type_for_alias(c.column_type.arrow)) for c in joined}
    rows = frame(_rows(parts), kinds | {"_record": _WHOLE})
    found = []
    for column, parent in parents.items():
        rows, orphans = _orphans(frame, rows, column, parent)
        found.append(orphans)
    if not _ascend(parts):
        for column in parents:
            rows = rows[rows[column].isnull() | rows[f"_has_{column}"].notnull()]
        keys = list(source.keys)
        rows = rows[[*keys, "_record", "_part"]]
        rows = rows.shuffle(on=keys) if rows.npartitions > 1 else rows
        found.append(rows.map_partitions(_reasons_of_duplicates, keys, meta=_EMPTY))
    if not found:
        return dd.from_pandas(_EMPTY, npartitions=1)
    together = dd.concat(found)
    if sum(part.stored for part in parts) <= size:
        return together.repartition(npartitions=1)
    return together.shuffle(on="part")


def _rows(parts: Sequence[PartResult]) -> list[tuple[int, str, int]]:
    return [(number, part.rows, part.stored) for number, part in enumerate(parts)]


def _ascend(parts: Sequence[PartResult]) -> bool:
    """Whether each key is greater than the one before, as in most files: then none is there twice."""
    ends = [part.keys or () for part in parts if part.stored]
    return all(ends) and all(first[-1] < second[0] for first, second in pairwise(ends))


def _orphans(
    frame: Callable[..., dd.DataFrame], rows: dd.DataFrame, column: str, parent: Parent
) -> tuple[dd.DataFrame, dd.DataFrame]:
    """The rows with a mark at those that have a parent, and those that have none, each with its code."""
    key, parts = parent
    has, kind = f"_has_{column}", rows.dtypes[column]
    stored = frame(_rows(parts), {key: kind})[[key]].rename(columns={key: column})
    rows = rows.merge(stored.assign(**{has: 1}), on=column, how="left")
    lost = rows[rows[column].notnull() & rows[has].isnull()]
    lost = lost[["_part", "_record", column]].astype({column: _TEXT}).rename(columns=_PLAIN | {column: "value"})
    names = [(number, name, part.rejected) for number, part in enumerate(parts) for name in part.rejects]
    rejected = frame(names, {"key": _TEXT})[["key"]].dropna()
    rejected = rejected.drop_duplicates(split_out=rejected.npartitions)
    lost = lost.merge(rejected, left_on="value", right_on="key", how="left")
    return rows, lost.map_partitions(_reasons_of_orphans, column, meta=_EMPTY)


def _reasons_of_orphans(lost: pd.DataFrame, column: str) -> pd.DataFrame:
    code = lost["key"].isnull().map({True: Code.ORPHAN, False: Code.PARENT_REJECTED})
    return lost.assign(column=column, code=code, first=None)[list(_REASONS)].astype(_REASONS)


def _reasons_of_duplicates(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """All rows with a key but the first of them."""
    several = rows[rows.duplicated(keys, keep=False)]
    first = several.groupby(keys, dropna=False)["_record"].transform("min")
    found = several.assign(first=first, column=None, value=None, code=Code.DUPLICATE_KEY).rename(columns=_PLAIN)
    return found[found["record"] != first][list(_REASONS)].astype(_REASONS)


def errors_by_part(source: Source, rejected: Any) -> Iterator[tuple[int, dict[int, list[Error]]]]:
    """From a partition of what `find_rejected` gives, for each part by its number the errors of its records."""
    order = {column: number for number, column in enumerate(source.references)}
    for part, rows in rejected.groupby("part"):  # whole numbers of Python, as Arrow gives them
        errors: dict[int, list[Error]] = {}
        for row in rows.sort_values("record").itertuples(index=False):
            if row.code == Code.DUPLICATE_KEY:
                error = duplicate_key_error(source, None, row.first)
            else:
                error = orphan_error(row.code, row.column, row.value, source.references[row.column])
            errors.setdefault(row.record, []).append(error)
        for reasons in errors.values():
            reasons.sort(key=lambda error: order.get(error.column or "", 0))
        yield part, errors
