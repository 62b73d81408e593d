"""The index of a run, what a reader looks at first, and the index of all runs."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from foundation.memory import parse_bytes
from foundation.query.query import Database
from foundation.report.html import render
from foundation.report.result import Report, read_report
from foundation.stats.overview import attention, broken_checks, files_of, reasons

_COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")
_COMPARED = ("read", "stored", "rejected", "attention")


class Told(NamedTuple):
    """What is to be said of a run: its loads, what needs attention, reasons of rejects, checks broken, who worked."""

    loads: list[dict[str, Any]]
    attention: list[str]
    reasons: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    workers: list[dict[str, Any]]


def told_of(database: Database, run_id: str) -> Told:
    """All that the index of a run tells of its data."""
    loads = files_of(database, run_id)
    checks, workers = broken_checks(database, loads), database.workers(load["load_id"] for load in loads)
    return Told(loads, attention(database, run_id), reasons(database, run_id=run_id), checks, workers)


def write_index(report: Report, told: Told, given: Mapping[str, Any]) -> None:
    """Write the index of a run and its `run.json`; *given* are the parameters of its notebooks."""
    pages = {page.source: page.href for page in report.pages if page.source}
    budget = parse_bytes(str(given.get("memory_limit", "500MB")))
    told_first = sorted(report.pages, key=lambda page: bool(page.source))  # the notebooks about all
    groups = [(title, list(group)) for title, group in groupby(told_first, lambda page: page.title)]
    facts = {name: value for name, value in report.facts().items() if name not in ("attention", "pages")}
    index = render(
        "run.html.j2", title=f"Run {report.run_id}", **facts | told._asdict(), counts=_COUNTS, pages=pages,
        groups=groups, peak=max((load["peak_rss_bytes"] for load in told.loads), default=0), budget=budget,
        failures=[(page.stem, page.failure) for page in report.pages if page.failure],
    )  # fmt: skip
    (report.folder / "index.html").write_text(index, encoding="utf-8")
    report.save()


def write_index_of_runs(out: Path) -> None:
    """Write the index of all runs in *out*, each with what has changed from the last one of such names."""
    runs = sorted((read_report(path.parent) for path in out.glob("*/run.json")), key=lambda run: run.run_id)
    before: dict[tuple[str, str], Report] = {}
    told = []
    for run in runs:
        earlier = before.get((run.delivery, run.database), run)
        before[run.delivery, run.database] = run
        more = {name: getattr(run, name) - getattr(earlier, name) for name in _COMPARED}
        told.append(run.facts() | {"more": more})
    (out / "index.html").write_text(render("runs.html.j2", title="All runs", runs=told[::-1]), encoding="utf-8")
