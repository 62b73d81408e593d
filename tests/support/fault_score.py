"""Load files with faults and compare what becomes of them with the truth; run as a script, stop at the first miss."""

import csv
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from foundation.delivery.sample import write_sample
from tests.support.fault_kinds import KEYLESS_PARENT, REFUSED_PARENT
from tests.support.faults import SOURCES, Clean, File, Truth, corpus
from tests.support.inspection import query
from tests.support.loading import ingest

MISSES = "lost", "wrongly stored", "wrongly refused", "changed", "doubled", "wrongly located", "wrong code"


class Faultless(NamedTuple):
    """What files are made from, and a database with all parents that they refer to."""

    rows: Clean
    db: Path


def make_faultless(folder: Path) -> Faultless:
    """Sample data, keys and references raised by 1,000, so that the keys below are free."""
    write_sample(folder, orders=400)
    rows = {}
    for name, source in SOURCES.items():
        with (folder / source.file_name).open(encoding="utf-8", newline="") as file:
            rows[name] = list(csv.DictReader(file))
        for row in rows[name]:
            row |= {column: str(1_000 + int(row[column])) for column in (source.key, *source.references)}
        refused = rows[name][0] | {source.key: REFUSED_PARENT, "created_at": "?"}
        keyless = rows[name][0] | {source.key: f"{KEYLESS_PARENT[:3]}_{KEYLESS_PARENT[3:]}"}
        with (folder / source.file_name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[name][0], extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*rows[name], refused, keyless])
    ingest(folder, folder / "parents.db", only=["clients", "drivers", "warehouses", "orders"])
    return Faultless(rows, folder / "parents.db")


def load(
    files: Mapping[str, File], clean: Faultless, folder: Path, *, chunk_size: int, score: Counter[str]
) -> list[str]:
    """Load the files beside their parents: everything in which the database differs from the truth."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for source, file in files.items():
        (folder / f"{source}.csv").write_bytes(file.data)
    db = shutil.copy(clean.db, folder / "test.db")
    run = ingest(folder, db, only=files, chunk_size=chunk_size)
    found = [miss for source, file in files.items() for miss in misses(db, source, folder / f"{source}.csv", file)]
    found += [
        f"{load.source}: {load.read} records" for load in run.loads if load.read != len(files[load.source].truths)
    ]
    score["loads"] += 1
    score["cases"] += sum(bool(truth.place) for file in files.values() for truth in file.truths)
    score.update(kind for kind in MISSES for miss in found if f": {kind}: " in miss)
    return found


def misses(db: Path, source: str, path: Path, file: File) -> list[str]:
    """Everything in which the rows and the rejects of a file differ from the truth."""
    columns = ", ".join(column.name for column in SOURCES[source].columns)
    stored: dict[int, list[tuple]] = {}
    rows = f"SELECT _record, {columns} FROM {source} WHERE _load IN (SELECT load_id FROM _loads WHERE path = ?)"
    for record, *row in query(db, rows, str(path)):
        stored.setdefault(record, []).append(tuple(row))
    refused: dict[int, dict[int, list[tuple]]] = {}
    rejects = """
        SELECT record, reject_id, line, last_line, byte_start, byte_end, raw, coalesce("column", ''), code
        FROM _rejects JOIN _errors USING (reject_id) WHERE path = ? AND status = 'open' ORDER BY 1, 2, 8, 9
    """
    for record, reject, *told in query(db, rejects, str(path)):
        refused.setdefault(record, {}).setdefault(reject, []).append(tuple(told))
    found = [
        f"{source} record {truth.record}, {truth.kind}, {truth.place}: {miss}"
        for truth in file.truths
        for miss in compare(truth, stored.pop(truth.record, []), refused.pop(truth.record, {}), file)
    ]
    return found + [f"{source} record {record}: doubled: there is no such record" for record in (*stored, *refused)]


def compare(truth: Truth, rows: list[tuple], rejects: dict[int, list[tuple]], file: File) -> Iterator[str]:
    """In what rows and rejects of a record differ from the truth."""
    raw = file.data[truth.start : truth.end]
    shown = raw[:1_000]
    if len(rows) + len(rejects) != 1:
        yield f"doubled: {shown!r}" if rows or rejects else f"lost: {shown!r}"
    elif rows and truth.reasons:
        yield f"wrongly stored: {shown!r} has {truth.reasons}"
    elif rows and rows[0] != truth.row:
        yield f"changed: {rows[0]} should be {truth.row}"
    for told in rejects.values():
        reasons = [(column, code) for *_, column, code in told]
        if not truth.reasons:
            yield f"wrongly refused: {shown!r} for {reasons}"
            continue
        if told[0][:4] != truth[1:5] or told[0][4] != raw:
            yield f"wrongly located: {told[0][4][:1_000]!r} at {told[0][:4]} should be {shown!r} at {truth[1:5]}"
        if reasons != truth.reasons:
            yield f"wrong code: {shown!r} has {reasons}, should have {truth.reasons}"


def batches(clean: Faultless, seed: int) -> Iterator[dict[str, File]]:
    """The files of the corpus, one of each source at a time."""
    files = corpus(clean.rows, seed)
    for number in range(max(map(len, files.values()))):
        yield {source: some[number] for source, some in files.items() if number < len(some)}


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        clean = make_faultless(Path(name))
        for batch in batches(clean, seed=0):
            if found := load(batch, clean, Path(name) / "data", chunk_size=7, score=Counter()):
                sys.exit("\n".join(found))
