"""Corrected records back into the database: exports of rejects that a person has mended in a spreadsheet."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from foundation.errors import StoreError, visible
from foundation.pipeline.revalidate import release, revalidation
from foundation.reader import COMMAS, Chunk, Reader, reread, unguard
from foundation.schema import Column, Source
from foundation.store import REJECT_ID, Load, LoadKind, RejectStatus, Store, format_errors, now

_CHUNK = 1_000  # records held in memory at once


class Refusal(NamedTuple):
    """A correction that could not be taken back, and why."""

    source: str
    reject_id: int
    reason: str


@dataclass
class Repaired:
    """What came of corrections: the loads that stored them, how many had been taken back before, what was refused."""

    loads: list[Load] = field(default_factory=list)
    already: int = 0
    refused: list[Refusal] = field(default_factory=list)


def require_folder(data: Path, sources: Sequence[Source]) -> None:
    """Raise StoreError when *data* is no folder with any corrected export."""
    wanted = ", ".join(source.file_name for source in sources)
    if not data.is_dir() or not any((data / source.file_name).is_file() for source in sources):
        raise StoreError(f"{data}: no folder with corrected exports; wanted is any of {wanted}")


def repair(store: Store, sources: Sequence[Source], data: Path, run_id: str) -> Repaired:
    """Take corrected exports back from the folder *data*: `<source>.csv` with their column `_reject_id`.

    A correction that is valid is stored and its reject marked repaired, with what it was before and after; one that
    is not is refused with the reasons and its reject stays open. Doing it again changes nothing.
    """
    result = Repaired()
    for source in sources:
        path = data / source.file_name
        if path.is_file():
            _Export(store, source, path.absolute(), run_id, result).take_back()
            result.loads += release(store, sources, run_id)
    return result


class _Reject(NamedTuple):
    """The record that a correction is for; *stored* are the fields that it was stored with, if it was."""

    reject_id: int
    origin: int
    record: int
    status: str
    stored: list[str] | None


@dataclass
class _Export:
    """A corrected export of one source."""

    store: Store
    source: Source
    path: Path
    run_id: str
    result: Repaired

    def take_back(self) -> None:
        columns = (Column(REJECT_ID, REJECT_ID, int, required=True), *self.source.columns)
        with Reader(self.path, replace(self.source, columns=columns, dialect=COMMAS).layout) as reader:
            while chunk := reader.chunk(_CHUNK):
                for rejected in chunk.damaged:
                    reasons = "; ".join(error.message for error in rejected.errors)
                    self._refuse(0, f"record {rejected.record} of {self.path.name}: {reasons}")
                self._take_back({number: [unguard(text) for text in fields] for number, *fields in chunk.rows})

    def _take_back(self, corrections: dict[str, list[str]]) -> None:
        """Store corrections, which stand under the text of their reject's number, version by version of the files."""
        versions: dict[int, dict[int, tuple[int, list[str]]]] = {}  # origin → record → reject and fields
        for number, fields in corrections.items():
            reject = self._find_reject(number)
            if reject and reject.status == RejectStatus.OPEN:
                versions.setdefault(reject.origin, {})[reject.record] = (reject.reject_id, fields)
            elif reject and reject.stored == fields:
                self.result.already += 1
            else:
                status = reject.status if reject else "unknown"
                self._refuse(_whole(number), f"reject {visible(number, 40)} is {status}, not open")
        for origin, corrected in versions.items():
            self._store_version(origin, corrected)

    def _find_reject(self, number: str) -> _Reject | None:
        row = self.store.execute(
            """
            SELECT reject_id, origin, record, r.status, after, raw, header
            FROM _rejects r JOIN _loads USING (load_id) LEFT JOIN _repairs USING (reject_id)
            WHERE reject_id = ? AND r.source = ? AND record IS NOT NULL
            """,
            (_whole(number), self.source.name),
        ).fetchone()
        if not row:
            return None
        reject_id, origin, record, status, after, raw, header = row
        stored = json.loads(after) if status == RejectStatus.REPAIRED else None
        if status == RejectStatus.RELEASED:  # as it is
            stored = next(map(list, reread([(record, raw, json.loads(header))], self.source.layout).rows), None)
        return _Reject(reject_id, origin, record, status, stored)

    def _store_version(self, origin: int, corrected: dict[int, tuple[int, list[str]]]) -> None:
        records = sorted(corrected)
        ids = {record: corrected[record][0] for record in records}
        chunk = Chunk.of_rows(records, [corrected[record][1] for record in records])
        with revalidation(self.store, self.source, origin, self.run_id, LoadKind.REPAIR) as version:
            reasons = version.recover(chunk, ids, RejectStatus.REPAIRED)
            known = version.load.load_id, str(self.path)
            stored = [corrected[record] for record in records if record not in reasons]
            self.store.connection.executemany(
                "INSERT INTO _repairs VALUES (?, ?, ?, ?, ?)",
                [(number, *known, json.dumps(fields), now()) for number, fields in stored],
            )
        for record, errors in reasons.items():
            self._refuse(ids[record], format_errors(errors))
        if version.load.read:
            self.result.loads.append(version.load)

    def _refuse(self, reject_id: int, reason: str) -> None:
        self.result.refused.append(Refusal(self.source.name, reject_id, reason))


def _whole(text: str) -> int:
    """The number of a reject; 0, which none has, for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
