"""Rejected records with their locations, bytes and reasons, and what they say of a whole file."""

import json
import re
from collections.abc import Iterable

from foundation.errors import SourceError, Stage
from foundation.reader import Damaged, Error, Place, key_text
from foundation.schema import Source
from foundation.store.database import Store
from foundation.store.ledger import Load
from foundation.store.status import RejectStatus

REJECT_ID = "_reject_id"  # in exports for a person the column that says which reject a row corrects


def save_rejects(
    store: Store,
    source: Source,
    load: Load,
    rejected: Iterable[tuple[Damaged, Place | tuple[int | None, ...] | None, bytes | None]],
) -> None:
    """Keep rejected records with their location, bytes and reasons, inside the open transaction."""
    (last,) = store.execute("SELECT coalesce(max(reject_id), 0) FROM _rejects").fetchone()
    numbered = list(enumerate(rejected, last + 1))
    store.connection.executemany(
        f"INSERT INTO _rejects VALUES (?, {load.load_id:d}, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?)",
        (
            (reject_id, load.source, load.path, *(place or (None,) * 5), raw, plain_key(source, damaged.key))
            for reject_id, (damaged, place, raw) in numbered
        ),
    )
    _add_errors(store, ((reject_id, damaged.errors) for reject_id, (damaged, _, _) in numbered))


def save_errors(store: Store, reject_id: int, errors: list[Error]) -> None:
    """The reasons of a reject, in place of those it had."""
    store.execute("DELETE FROM _errors WHERE reject_id = ?", (reject_id,))
    _add_errors(store, [(reject_id, errors)])


def _add_errors(store: Store, rejects: Iterable[tuple[int, list[Error]]]) -> None:
    store.connection.executemany(
        "INSERT INTO _errors VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((reject_id, number, *error) for reject_id, errors in rejects for number, error in enumerate(errors, 1)),
    )


def format_errors(errors: Iterable[Error]) -> str:
    """All reasons of a reject in one line, for a person."""
    return "; ".join(f"{error.column or 'record'}: {error.message}" for error in errors)


def file_error(refusal: SourceError) -> Error:
    """Why a whole file is refused, as the one reason of a reject without a record."""
    return Error(Stage.FILE, refusal.code, None, None, str(refusal))


def set_status(store: Store, reject_ids: Iterable[int], status: RejectStatus) -> None:
    """Mark rejects, inside the open transaction."""
    store.connection.executemany(
        "UPDATE _rejects SET status = ? WHERE reject_id = ?", [(status, reject_id) for reject_id in reject_ids]
    )


def waive_superseded(store: Store, load: Load, *, only_files: bool = False) -> None:
    """Close the open rejects of earlier versions of the file: *load* has validated the whole file again.

    With *only_files* those of refused files alone: nothing new is known of the records.
    """
    of_file = (load.source, load.path, load.origin)
    if not store.exists("SELECT 1 FROM _loads WHERE source = ? AND path = ? AND origin <> ?", of_file):
        return  # there is no earlier version
    store.execute(
        f"""
        UPDATE _rejects SET status = 'waived' WHERE source = ? AND path = ? AND status = 'open'
        AND load_id NOT IN (SELECT load_id FROM _loads WHERE origin = ?)
        {"AND record IS NULL" if only_files else ""}
        """,
        of_file,
    )


def plain_key(source: Source, key: str | None) -> str | None:
    """A key as its children would refer to it: whole numbers without leading zeros."""
    if not key:
        return key
    texts = [key] if len(source.keys) == 1 else json.loads(key)
    kinds = [source.columns[at].kind for at in source.layout.keys]
    plain = [
        str(int(text)) if kind is int and re.fullmatch("-?[0-9]{1,19}", text) else text
        for text, kind in zip(texts, kinds, strict=True)
    ]
    return key_text(plain)


def failed_columns(store: Store, load: Load) -> tuple[list[tuple[str, int, str]], tuple[int, str]]:
    """Columns with values that are not valid, and how many records are no text, each with the first bad value in order.

    A column is its name, how many of its values are bad, and that value.
    """
    # CROSS and the plus: SQLite would look at all errors of that stage that there ever were.
    columns = store.execute(
        """
        SELECT "column", count(*), min(value) FROM _rejects CROSS JOIN _errors USING (reject_id)
        WHERE load_id = ? AND +stage = 'schema' AND value <> '' GROUP BY "column"
        """,
        (load.load_id,),
    ).fetchall()
    undecoded = store.execute(
        """
        SELECT count(DISTINCT reject_id), ifnull(min(value), '') FROM _rejects CROSS JOIN _errors USING (reject_id)
        WHERE load_id = ? AND code IN ('invalid_utf8', 'invalid_encoding')
        """,
        (load.load_id,),
    ).fetchone()
    return columns, undecoded
