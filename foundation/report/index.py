"""The index of a run, what a reader looks at first, and the index of all runs."""

from itertools import groupby
from pathlib import Path
from typing import Any

from foundation.memory import parse_bytes
from foundation.query.query import Database
from foundation.report.html import render
from foundation.report.result import Report, read_report
from foundation.stats.overview import attention, broken_checks, reasons
from foundation.store.ledger import COUNTS

_COMPARED = ("read", "stored", "rejected", "attention")


def write_index(report: Report, database: Database, loads: list[dict[str, Any]], memory_limit: str) -> None:
    """Write the index of a run that made these *loads*, and its `run.json`; *memory_limit* is that of the loads."""
    points = attention(database, report.run_id)
    report.attention = len(points)
    overviews_first = sorted(report.pages, key=lambda page: bool(page.source))
    index = render(
        "run.html.j2", title=f"Run {report.run_id}", **report.facts() | {"pages": report.pages, "attention": points},
        groups=[(title, list(group)) for title, group in groupby(overviews_first, lambda page: page.title)],
        loads=loads, reasons=reasons(database, run_id=report.run_id), checks=broken_checks(database, loads),
        workers=database.workers(load["load_id"] for load in loads), counts=COUNTS, budget=parse_bytes(memory_limit),
    )  # fmt: skip
    (report.folder / "index.html").write_text(index, encoding="utf-8")
    report.save()


def write_index_of_runs(out: Path) -> None:
    """Write the index of all runs in *out*, each with what has changed from the last one of such names."""
    before: dict[tuple[str, str], Report] = {}
    rows = []
    for run in sorted((read_report(path.parent) for path in out.glob("*/run.json")), key=lambda run: run.run_id):
        earlier = before.get((run.delivery, run.database), run)
        before[run.delivery, run.database] = run
        more = {name: getattr(run, name) - getattr(earlier, name) for name in _COMPARED}
        rows.append(run.facts() | {"more": more})
    (out / "index.html").write_text(render("runs.html.j2", title="All runs", runs=rows[::-1]), encoding="utf-8")
