"""Thresholds that decide how fast a load is, and never what it gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """From what size on the machinery for large files is worth its start; tests use it for small ones."""

    worker_bytes: int = 8 * 2**20  # still to be read; for less, to start a worker costs more than it saves
    running_worker_bytes: int = 2**20  # the same for a worker that is there already
    reject_cost: int = 5  # clean records that are read in the time of a rejected one
    worker_wait_s: float = 0  # for a worker that is starting; this process has enough to do meanwhile
    parents_bytes: int = 2**20  # still to be read; for less SQLite may look for parents
    parents_bytes_per_key: int = (
        20  # still to be read; for less, to look for gaps among keys takes longer than it saves
    )
    large_load: int = 20_000  # records; from there on a second connection counts them while indexes are made


STANDARD = Tuning()
