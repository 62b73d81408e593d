"""Resident memory of this process: sample it, remember the peak, hold it against a budget."""

import re
from contextlib import suppress

import psutil

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class Memory:
    """Samples resident memory against a budget, both in bytes, that of the process *worker* included.

    `peak` is the largest sample: what rises and falls between two samples is not seen.
    """

    def __init__(self, *, limit: int, worker: int | None = None) -> None:
        self._processes = [psutil.Process(), *([psutil.Process(worker)] if worker else [])]
        self.limit = limit
        self.peak = 0
        self.sample()

    def sample(self) -> int:
        """Resident bytes now."""
        now = 0
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):  # that it has ended is told by who waits for it
                now += process.memory_info().rss
        self.peak = max(self.peak, now)
        return now

    def is_tight(self) -> bool:
        """Whether more than nine tenths of the budget are in use."""
        return self.sample() > 0.9 * self.limit

    def is_spent(self) -> bool:
        """Whether the whole budget is in use."""
        return self.sample() > self.limit


def parse_bytes(text: str) -> int:
    """Bytes meant by `500MB`, `1.5 GiB` or `1000000`; kB, MB, GB are powers of 1,000.

    Raises ValueError when *text* is no positive size.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    size = round(float(match[1]) * _UNITS.get(match[2].lower(), 0)) if match else 0
    if not size:
        raise ValueError(f"{text!r} is no size; write it like 500MB or 1GiB")
    return size
