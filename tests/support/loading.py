"""Loads in the process of the tests."""

from collections.abc import Callable
from functools import partial

import foundation

# This process has run other tests and keeps what they import: what it holds says nothing about the memory of a load.
ingest: Callable[..., foundation.Run] = partial(foundation.ingest, memory_limit=2_000_000_000)
