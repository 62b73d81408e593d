"""The command line: `foundation VERB …`, the same as `python -m foundation VERB …`.

Tables for people go to standard output, progress and messages to standard error. Exit status: 0 done; 1 done, but
something was refused; 2 could not be done.
"""

import os
import sys
from collections.abc import Sequence

from foundation.cli.loading import check, ingest, migrate, repair, replay, report, sample
from foundation.cli.options import parse
from foundation.cli.output import show_line
from foundation.cli.reading import doctor, draft, explain, export, page, rejects, stats, verify
from foundation.errors import FoundationError

COMMANDS = (
    sample, check, ingest, report, verify, doctor, stats, page, rejects, repair, replay, migrate, explain, export,
    draft,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status."""
    options = parse(COMMANDS, sys.argv[1:] if arguments is None else arguments)
    try:
        return options.command.run(options)  # type: ignore[no-any-return]
    except FoundationError as error:
        show_line(f"foundation: {error}", is_error=True)
        return 2
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
