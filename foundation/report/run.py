"""Run the notebooks over a delivery: one page for each, an index of the run, an index of all runs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foundation.ahead import WORTH_IT
from foundation.delivery import SOURCES
from foundation.errors import ReportError
from foundation.ingest import choose
from foundation.ledger import end_run, new_run_id
from foundation.query import Database
from foundation.source import Source
from foundation.stats import attention, files_of, loads, reasons
from foundation.store import Store

_COUNTS = ("read", "inserted", "updated", "unchanged", "rejected")
_ABOUT_ALL: dict[str, set[str]] = {
    "02_overview": set(),
    "03_explore": {source.name for source in SOURCES},
}  # what they need

_WAIT_S = 600  # for each other: two notebooks that load at a time take turns in writing


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
    given = {"data": str(data.absolute()), "db": str(db.absolute()), "run_id": run_id, "wait_s": _WAIT_S, **parameters}
    overviews = [name for name, needed in _ABOUT_ALL.items() if needed <= {source.name for source in sources}]
    _run_all(report, chosen, overviews, given, side_by_side=_side_by_side(chosen, data))
    _close(report, db, sources)
    return report


def _side_by_side(chosen: Sequence[Source], data: Path) -> int:
    """How many notebooks run at a time: a large file keeps two processors busy by itself."""
    files = [data / source.file_name for source in chosen]
    return 1 if any(file.is_file() and file.stat().st_size >= WORTH_IT for file in files) else 2


def _run_all(
    report: Report, chosen: Sequence[Source], overviews: Sequence[str], given: dict[str, Any], *, side_by_side: int
) -> None:
    """One notebook for each source, behind those of its parents, then those that tell of all."""
    from foundation.report.kernels import forked_kernels

    with ThreadPoolExecutor(side_by_side) as pool, forked_kernels() as kernels:

        def run(page: Page, after: Iterable["Future[Page | None]"], **more: str) -> "Future[Page | None]":
            return pool.submit(_run, report, page, given | more, kernels, list(after))

        loading: dict[str, Future[Page | None]] = {}
        for source in chosen:
            parents = [loading[name] for name in source.references.values() if name in loading]
            loading[source.name] = run(Page("01_ingest", source.name), parents, source=source.name)
        wait(loading.values())
        telling = [run(Page(name), ()) for name in overviews]
        report.pages += [page for made in (*loading.values(), *telling) if (page := made.result())]


def _run(
    report: Report, page: Page, given: dict[str, Any], kernels: Any, after: "list[Future[Page | None]]"
) -> Page | None:
    """Run a notebook and make its page; none for a source that is not loaded because a load before it was stopped."""
    from jupyter_core.utils import ensure_event_loop

    from foundation.report.engine import run_notebook
    from foundation.report.page import make_page

    wait(after)
    if page.source and _is_stopped(given["db"], report.run_id):
        return None
    sys.stderr.write(f"{page.name} {page.source}".rstrip() + "\n")  # in one piece, for two may write
    copy = report.folder / page.notebook
    page.failure = run_notebook(_notebook(page.name), copy, given, kernels=kernels)
    ensure_event_loop().close()  # papermill leaves one in each thread
    page.title = make_page(
        copy, report.folder / page.href, run_id=report.run_id, name=page.source, failure=page.failure
    )
    return page


def _notebook(name: str) -> Path:
    """A notebook of the project, or the copy that was installed with the package."""
    package = Path(__file__).parents[1]
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if (folder / f"{name}.ipynb").is_file():
            return folder / f"{name}.ipynb"
    raise ReportError(f"{name}.ipynb: not found beside the package; run from a checkout of the project")


def _is_stopped(db: str, run_id: str) -> bool:
    with Database(db) as database:
        return any(load["status"] == "stopped" for load in loads(database, run_id))


def _close(report: Report, db: Path, sources: Sequence[Source]) -> None:
    """Write what the run came to: its entry in the ledger, its index, the index of all runs."""
    with Database(db, sources=sources) as database:
        told = files_of(database, report.run_id)
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
