"""How far a sweep goes: a little in `make test`, an hour in `make soak`, for hours in `make soak FULL=1`."""

import os
from typing import TypeVar

T = TypeVar("T")
_LEVEL = ("", "sampled", "full").index(os.environ.get("FOUNDATION_SOAK", ""))


def effort(test: T, sampled: T, full: T) -> T:
    """One of three for the level that is asked for: a step, a count, seeds."""
    return (test, sampled, full)[_LEVEL]
