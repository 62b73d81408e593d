"""Keys and references of rows that lie in many files, checked by Dask's joins over the columns that matter.

What is refused is what a single machine refuses: a record whose parent is not stored, and of the others each that has
the key of one before it in the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import dask.dataframe as dd
import fsspec
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from foundation.lake.partitions import Judged
from foundation.reader.recovery import Error
from foundation.schema.source import Source
from foundation.store.writer import duplicate_key_error, orphan_error

GROUP = 500_000  # records whose keys one task joins
_TEXT, _WHOLE = pd.ArrowDtype(pa.string()), pd.ArrowDtype(pa.int64())
_REFUSED = {"part": _WHOLE, "record": _WHOLE, "column": _TEXT, "value": _TEXT, "code": _TEXT, "first": _WHOLE}
_PLAIN = {"_part": "part", "_record": "record"}


Parent = tuple[str, Sequence[Judged]]  # its key, and its parts that are there


def refused(out: str, source: Source, parts: Sequence[Judged], parents: Mapping[str, Parent]) -> dd.DataFrame:
    """A row for each reason why a record that was judged cannot be stored; all those of a part in one partition.

    *parents* has for each column that refers to another source what is there of that.
    """
    kinds = {
        c.name: pd.ArrowDtype(pa.type_for_alias(c.column_type.arrow))
        for c in source.columns
        if c.name in {*source.keys, *parents}
    }
    rows = _frame(out, [(at, one.rows, one.stored) for at, one in enumerate(parts)], kinds | {"_record": _WHOLE})
    found = []
    for column, parent in parents.items():
        rows, orphans = _orphans(out, rows, column, parent)
        found.append(orphans)
    if not _ascend(parts):
        for column in parents:
            rows = rows[rows[column].isnull() | rows[f"_has_{column}"].notnull()]
        found.append(_doubled(rows[[*source.keys, "_record", "_part"]], list(source.keys)))
    if not found:
        return dd.from_pandas(_meta(), npartitions=1)
    together = dd.concat(found)
    if sum(one.stored for one in parts) <= GROUP:
        return together.repartition(npartitions=1)
    return together.shuffle(on="part")


def _ascend(parts: Sequence[Judged]) -> bool:
    """Whether each key is greater than the one before, as in most files: then none is there twice."""
    ends = [one.keys or () for one in parts if one.stored]
    return all(ends) and all(first[-1] < second[0] for first, second in pairwise(ends))


def reasons(source: Source, found: Any) -> Iterator[tuple[int, dict[int, list[Error]]]]:
    """From a partition of what is `refused`, for each part by its number the errors of its records."""
    order = {column: at for at, column in enumerate(source.references)}
    for part, some in found.groupby("part"):  # whole numbers of Python, as Arrow gives them
        errors: dict[int, list[Error]] = {}
        told = some.sort_values("record").itertuples(index=False)
        for row in told:
            errors.setdefault(row.record, []).append(_error(source, row))
        for reasons in errors.values():
            reasons.sort(key=lambda error: order.get(error.column or "", 0))
        yield part, errors


def _error(source: Source, row: Any) -> Error:
    if row.code == "duplicate_key":
        return duplicate_key_error(source, None, row.first)
    return orphan_error(row.code, row.column, row.value, source.references[row.column])


def _frame(out: str, files: Sequence[tuple[int, str, int]], kinds: Mapping[str, Any]) -> dd.DataFrame:
    """These columns of Parquet files, each given with its number, its name and its rows."""
    groups: list[list[tuple[int, str]]] = [[]]
    size = 0
    for at, name, rows in files:
        if groups[-1] and size + rows > GROUP:
            groups.append([])
            size = 0
        groups[-1].append((at, name))
        size += rows
    meta = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in {**kinds, "_part": _WHOLE}.items()})
    return dd.from_map(partial(_read, out, meta), groups, meta=meta)


def _read(out: str, meta: pd.DataFrame, group: Sequence[tuple[int, str]]) -> pd.DataFrame:
    names = [name for name in meta.columns if name != "_part"]
    found = [meta]
    for at, name in group:
        with fsspec.open(f"{out}/{name}", "rb") as file:
            table = parquet.read_table(file, columns=names)
        found.append(table.to_pandas(types_mapper=pd.ArrowDtype)[names].assign(_part=at))
    return pd.concat(found, ignore_index=True).astype(meta.dtypes)


def _orphans(out: str, rows: dd.DataFrame, column: str, parent: Parent) -> tuple[dd.DataFrame, dd.DataFrame]:
    """The rows with a mark at those that have a parent, and those that have none, each with its code."""
    key, parts = parent
    files = [(at, one.rows, one.stored) for at, one in enumerate(parts)]
    has, kind = f"_has_{column}", rows.dtypes[column]
    stored = _frame(out, files, {key: kind})[[key]].rename(columns={key: column})
    rows = rows.merge(stored.assign(**{has: 1}), on=column, how="left")
    lost = rows[rows[column].notnull() & rows[has].isnull()]
    lost = lost[["_part", "_record", column]].astype({column: _TEXT}).rename(columns=_PLAIN | {column: "value"})
    names = [(at, name, one.rejected) for at, one in enumerate(parts) for name in one.rejects]
    rejected = _frame(out, names, {"key": _TEXT})[["key"]].dropna()
    rejected = rejected.drop_duplicates(split_out=rejected.npartitions)
    lost = lost.merge(rejected, left_on="value", right_on="key", how="left")
    return rows, lost.map_partitions(_told_orphans, column, meta=_meta())


def _told_orphans(lost: pd.DataFrame, column: str) -> pd.DataFrame:
    code = lost["key"].isnull().map({True: "orphan", False: "parent_rejected"})
    return lost.assign(column=column, code=code, first=None)[list(_REFUSED)].astype(_REFUSED)


def _doubled(rows: dd.DataFrame, keys: list[str]) -> dd.DataFrame:
    """All rows with a key but the first of them."""
    if rows.npartitions > 1:
        rows = rows.shuffle(on=keys)
    return rows.map_partitions(_told_doubled, keys, meta=_meta())


def _told_doubled(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    several = rows[rows.duplicated(keys, keep=False)]
    first = several.groupby(keys, dropna=False)["_record"].transform("min")
    found = several.assign(first=first, column=None, value=None, code="duplicate_key").rename(columns=_PLAIN)
    return found[found["record"] != first][list(_REFUSED)].astype(_REFUSED)


def _meta() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _REFUSED.items()})
