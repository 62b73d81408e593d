"""Runs, loads, chunks and rejects entered into a ledger by hand."""

from typing import Any

from foundation import SOURCES, Load
from foundation.reader.reader import Chunk, Damaged, Place, Position
from foundation.reader.recovery import Error
from foundation.store.database import Store
from foundation.store.ledger import save_chunk, save_load
from foundation.store.rejects import save_rejects

CLIENTS = SOURCES[0]
HALFWAY = Position(record=3, line=5, byte=70)


def enter(store: Store, path: str = "clients.csv", **values: Any) -> Load:
    load = Load("clients", path, 100, "f", "run", **values)
    save_load(store, load)
    return load


def enter_chunk(store: Store, load: Load, end: Position, digest: str = "") -> None:
    chunk = Chunk(Position(0, 1, 10), end, digest=digest)
    save_chunk(store, load, chunk, records=end.record, seconds=0.5, rss_bytes=7)


def enter_reject(store: Store, load: Load, *errors: Error, record: int = 1, key: str | None = None) -> None:
    place = Place(record, 2, 3, 20, 30)
    save_rejects(store, CLIENTS, load, [(Damaged(record, list(errors), key), place, b"raw")])


def missing(column: str) -> Error:
    return Error("schema", "missing", column, "", "Field required")
