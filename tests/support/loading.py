"""Loads in the process of the tests."""

from collections.abc import Callable
from functools import partial

import foundation
from foundation.pipeline import load
from foundation.pipeline.worker import Tuning

# This process has run other tests and keeps what they import: what it holds says nothing about the memory of a load.
ingest: Callable[..., foundation.Run] = partial(foundation.ingest, memory_limit=2_000_000_000)


def tuned(**thresholds: float) -> Callable[..., foundation.Run]:
    """`ingest` by other thresholds, so that small files go the way of large ones."""
    return partial(load.ingest, sources=foundation.SOURCES, memory_limit=2_000_000_000, tuning=Tuning(**thresholds))  # type: ignore[arg-type]
