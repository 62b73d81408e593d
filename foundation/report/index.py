"""The index of a run, what a reader looks at first, and the index of all runs."""

from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from foundation.memory import parse_bytes
from foundation.query.query import Database
from foundation.report.html import render
from foundation.report.result import Report, read_report
from foundation.stats.overview import attention, broken_checks, files_of, reasons
from foundation.store.ledger import COUNTS

_COMPARED = ("read", "stored", "rejected", "attention")


class RunSummary(NamedTuple):
    """What the index of a run says of its data: loads, points of attention, why records were rejected, and so on."""

    loads: list[dict[str, Any]]
    attention: list[str]
    reasons: list[dict[str, Any]]
    checks: list[dict[str, Any]]  # that rows break
    workers: list[dict[str, Any]]


def summarise_run(database: Database, run_id: str) -> RunSummary:
    """Read what the index of a run says of its data."""
    loads = files_of(database, run_id)
    checks, workers = broken_checks(database, loads), database.workers(load["load_id"] for load in loads)
    return RunSummary(loads, attention(database, run_id), reasons(database, run_id=run_id), checks, workers)


def write_index(report: Report, summary: RunSummary, memory_limit: str) -> None:
    """Write the index of a run and its `run.json`; *memory_limit* is that of its loads."""
    pages = {page.source: page.href for page in report.pages if page.source}
    overviews_first = sorted(report.pages, key=lambda page: bool(page.source))
    groups = [(title, list(group)) for title, group in groupby(overviews_first, lambda page: page.title)]
    index = render(
        "run.html.j2", title=f"Run {report.run_id}", **report.facts() | {"pages": pages} | summary._asdict(),
        groups=groups, counts=COUNTS, budget=parse_bytes(memory_limit),
        peak=max((load["peak_rss_bytes"] for load in summary.loads), default=0),
        failures=[(page.stem, page.failure) for page in report.pages if page.failure],
    )  # fmt: skip
    (report.folder / "index.html").write_text(index, encoding="utf-8")
    report.save()


def write_index_of_runs(out: Path) -> None:
    """Write the index of all runs in *out*, each with what has changed from the last one of such names."""
    runs = sorted((read_report(path.parent) for path in out.glob("*/run.json")), key=lambda run: run.run_id)
    before: dict[tuple[str, str], Report] = {}
    rows = []
    for run in runs:
        earlier = before.get((run.delivery, run.database), run)
        before[run.delivery, run.database] = run
        more = {name: getattr(run, name) - getattr(earlier, name) for name in _COMPARED}
        rows.append(run.facts() | {"more": more})
    (out / "index.html").write_text(render("runs.html.j2", title="All runs", runs=rows[::-1]), encoding="utf-8")
