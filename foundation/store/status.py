"""The words in the columns `status` and `kind` of the ledger."""

from collections.abc import Collection
from enum import auto

from foundation.errors import Word


class RunStatus(Word):
    """What became of a run: a refused one has a file that is refused, a failed one a notebook that did not end."""

    RUNNING = auto()  # or cut off
    COMPLETE = auto()
    REFUSED = auto()
    STOPPED = auto()
    FAILED = auto()


class LoadStatus(Word):
    """What became of a file: a skipped one had not changed, a stopped one goes on with the next run."""

    RUNNING = auto()  # or cut off
    COMPLETE = auto()
    REFUSED = auto()
    SKIPPED = auto()
    STOPPED = auto()


def run_status(loads: Collection[str]) -> RunStatus:
    """The status of a run by those of its loads, of which the gravest counts."""
    return next((status for status in (RunStatus.STOPPED, RunStatus.REFUSED) if status in loads), RunStatus.COMPLETE)


class LoadKind(Word):
    """What a load read: a file, or in its place rejects or rows that were stored before."""

    FILE = auto()
    RELEASE = auto()  # rejects whose parents have come
    REPLAY = auto()  # rejects that other rules may let pass
    REPAIR = auto()  # corrections of rejects
    MIGRATE = auto()  # the rows of a table that is declared otherwise


class RejectStatus(Word):
    """What became of a rejected record."""

    OPEN = auto()
    RELEASED = auto()  # stored as it is
    REPAIRED = auto()  # stored as a person corrected it
    WAIVED = auto()  # the file has a newer version
