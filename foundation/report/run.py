"""Run the notebooks over a delivery: one page for each, an index of the run, an index of all runs."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foundation.errors import ReportError
from foundation.ingest import choose
from foundation.ledger import end_run, new_run_id
from foundation.query import Database
from foundation.source import Source
from foundation.stats import attention, load_of, loads, reasons
from foundation.store import Store

_COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")
_ABOUT_ALL: dict[str, set[str]] = {"02_overview": set(), "03_explore": {"orders", "external_factors"}}  # what they need


@dataclass
class Page:
    """One notebook of a run: where its page and its executed copy are, and why it failed if it did."""

    name: str
    source: str = ""
    title: str = ""
    failure: str | None = None

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.name}_{self.source}" if self.source else self.name

    @property
    def href(self) -> str:
        """Its page, from the index of the run."""
        return f"{self.stem}.html"

    @property
    def notebook(self) -> str:
        """Its executed copy, from the index of the run."""
        return f"notebooks/{self.stem}.ipynb"


@dataclass
class Report:
    """A run of the notebooks; `status` is that of the loads, or failed when a notebook did not run to its end."""

    run_id: str
    folder: Path
    status: str = "complete"
    read: int = 0
    stored: int = 0
    rejected: int = 0
    pages: list[Page] = field(default_factory=list)


def make_report(
    data: Path, db: Path, out: Path, *, sources: Sequence[Source], only: Sequence[str], parameters: Mapping[str, Any]
) -> Report:
    """Load *data* into *db* by one run of `01_ingest` for each source, then tell of it; pages go to *out*/<run>.

    *parameters* are passed to the notebooks that declare them. A notebook that fails gets its page all the same.
    """
    chosen = choose(sources, only, data)
    with Store(db):  # a database that cannot be written is told before any kernel starts
        pass
    report = Report(run_id := new_run_id(), out / run_id)
    (report.folder / "notebooks").mkdir(parents=True)
    given = {"data": str(data.absolute()), "db": str(db.absolute()), "run_id": run_id, **parameters}
    for source in chosen:
        _add(report, Page("01_ingest", source.name), given | {"source": source.name})
        if _is_stopped(db, run_id):
            break
    for name, needed in _ABOUT_ALL.items():
        if needed <= {source.name for source in sources}:
            _add(report, Page(name), given)
    _close(report, db, sources)
    return report


def _add(report: Report, page: Page, given: dict[str, Any]) -> None:
    from foundation.report.engine import run_notebook
    from foundation.report.page import make_page

    print(f"{page.name} {page.source}".rstrip(), file=sys.stderr, flush=True)
    copy = report.folder / page.notebook
    page.failure = run_notebook(_notebook(page.name), copy, given)
    page.title = make_page(
        copy, report.folder / page.href, run_id=report.run_id, name=page.source, failure=page.failure
    )
    report.pages.append(page)


def _notebook(name: str) -> Path:
    """A notebook of the project, or the copy that was installed with the package."""
    package = Path(__file__).parents[1]
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if (folder / f"{name}.ipynb").is_file():
            return folder / f"{name}.ipynb"
    raise ReportError(f"{name}.ipynb: not found beside the package; run from a checkout of the project")


def _is_stopped(db: Path, run_id: str) -> bool:
    with Database(db) as database:
        return any(load["status"] == "stopped" for load in loads(database, run_id))


def _close(report: Report, db: Path, sources: Sequence[Source]) -> None:
    """Write what the run came to: its entry in the ledger, its index, the index of all runs."""
    with Database(db, sources=sources) as database:
        seen = {load["source"]: load for load in loads(database, report.run_id) if load["kind"] == "file"}
        told = [load_of(database, report.run_id, name) for name in seen]
        points, why = attention(database, report.run_id), reasons(database, run_id=report.run_id)
    statuses = {load["status"] for load in told}
    failed = any(page.failure for page in report.pages)
    report.status = next((s for s in ("stopped", "refused") if s in statuses), "failed" if failed else "complete")
    report.read, report.rejected = (sum(load[name] for load in told) for name in ("read", "rejected"))
    report.stored = sum(load[name] for load in told for name in _COUNTS[1:4])
    with Store(db) as store:
        end_run(store, report.run_id, report.status)
    _write_indexes(report, told, points, why)


def _write_indexes(report: Report, told: list[dict[str, Any]], points: list[str], why: list[dict[str, Any]]) -> None:
    from foundation.report.page import render

    pages = {page.source: page.href for page in report.pages if page.source}
    facts = {name: value for name, value in asdict(report).items() if name != "folder"}
    index = render(
        "run.html.j2", title=f"Run {report.run_id}", **facts | {"pages": report.pages}, counts=_COUNTS,
        loads=[load | {"page": pages.get(load["source"])} for load in told], attention=points, reasons=why,
        failures=[(page.stem, page.failure) for page in report.pages if page.failure],
    )  # fmt: skip
    (report.folder / "index.html").write_text(index, encoding="utf-8")
    (report.folder / "run.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in report.folder.parent.glob("*/run.json")]
    runs.sort(key=lambda run: str(run["run_id"]), reverse=True)
    all_runs = render("runs.html.j2", title="All runs", runs=runs)
    (report.folder.parent / "index.html").write_text(all_runs, encoding="utf-8")
