"""Load the same two files into SQLite, and into a folder of Parquet with one worker and with more; print a table.

`python benchmarks/cluster.py [--orders N] [--workers N]`. Peaks are sampled, of the largest worker.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import psutil

import foundation
from foundation.delivery.sample import write_sample
from foundation.lake.load import connect, ingest

ONLY = ["clients", "orders"]


class Used(NamedTuple):
    """What a load took: seconds by the clock and of processors, megabytes."""

    loader: str
    seconds: float
    processor_seconds: float
    peak_mb: float


@contextmanager
def measured(loader: str, pids: list[int], told: list[Used]) -> Iterator[None]:
    """Measure these processes while the block runs."""
    processes, peaks, done = [psutil.Process(pid) for pid in pids], [0.0], Event()

    def watch() -> None:
        while not done.wait(0.1):
            peaks.append(max(process.memory_info().rss for process in processes) / 1e6)

    def processor_seconds() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    thread = Thread(target=watch)
    thread.start()
    before, began = processor_seconds(), time.perf_counter()
    yield
    seconds, used = time.perf_counter() - began, processor_seconds() - before
    done.set()
    thread.join()
    told.append(Used(loader, seconds, used, max(peaks)))
    print("{:<12} {:>10.1f} {:>18.1f} {:>8.0f}".format(*told[-1]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    told: list[Used] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_sample(folder / "data", orders=options.orders)
        print(f"{options.orders:,} orders\n{'loader':<12} {'seconds':>10} {'processor seconds':>18} {'peak MB':>8}")
        with measured("SQLite", [os.getpid()], told):
            foundation.ingest(folder / "data", folder / "x.db", only=ONLY, workers=1)
        for workers in sorted({1, options.workers}):
            with (
                connect("local", workers=workers) as client,
                measured(f"{workers} workers", list(client.run(os.getpid).values()), told),
            ):
                ingest(folder / "data", folder / f"lake{workers}", client=client, sources=foundation.SOURCES, only=ONLY)
    sqlite, one, more = told[0].seconds, told[1].seconds, told[-1].seconds
    print(f"speed-up {one / more:.2f}, one worker ÷ SQLite {one / sqlite:.2f}")


if __name__ == "__main__":  # workers begin by importing this file
    main()
