"""Run the notebooks over a delivery: one page for each, an index of the run, an index of all runs."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_event_loop

from foundation.errors import ReportError, visible
from foundation.lake.duckdb import open_database
from foundation.pipeline import Tuning, choose
from foundation.report.html import make_page, write_index, write_index_of_runs
from foundation.report.parameters import check_parameters
from foundation.report.provenance.crate import write_manifest
from foundation.report.provenance.freshness import up_to_date
from foundation.report.provenance.inputs import Entity, current_inputs
from foundation.report.result import Page, Report, ReportRun
from foundation.report.target import Target
from foundation.schema import Source, paths_of
from foundation.stats import content, files_of
from foundation.store import new_run_id

_INGEST, *_OVERVIEWS = "01_ingest", "02_overview", "03_explore"
_WAIT_S = 600  # for each other: two notebooks that load at a time take turns in writing


def make_report(
    data: Path | str, target: Target, out: Path, *, sources: Sequence[Source], only: Sequence[str],
    parameters: Mapping[str, Any], limits: Mapping[str, float] | None = None, run_id: str | None = None,
) -> Report:  # fmt: skip
    """Load *data* into *target* by one run of `01_ingest` for each source, then describe it; pages go to *out*/<run>.

    *parameters* are passed to the notebooks that declare them. A notebook that fails gets its page all the same. When
    nothing has changed since the last run, that one is given, unless the parameter `again` or a *run_id* is. *limits*
    are those of `run_notebook`, in seconds.
    """
    if "://" in str(data):  # its files are known by their digests
        remedy = "name one, or load with foundation ingest --to"
        raise ReportError(f"{data}: a report reads its delivery from a folder; {remedy}")
    data = Path(data)
    chosen, notebooks = choose(sources, only, data), _find_notebooks(sources)
    given = {"data": str(data.absolute()), "db": target.address, "wait_s": _WAIT_S, **parameters}
    run = ReportRun(data, target, sources, chosen, notebooks, given)
    loads_before = target.prepare(data, sources, only)
    inputs = current_inputs(run)
    why = "it was asked for" if run_id or given.get("again") else up_to_date(out, run, inputs)
    if isinstance(why, Report):
        return why
    run_id = run_id or new_run_id()
    report = Report(run_id, out / run_id, why=why, delivery=data.absolute().name, database=Path(target.address).name)
    _run_notebooks(run, report, limits or {})
    _close(run, report, inputs, loads_before)
    return report


def _find_notebooks(sources: Sequence[Source]) -> dict[str, Path]:
    """The notebooks that can run with these sources, of the project or as they were installed with the package.

    A notebook about certain sources names them in its metadata.
    """
    package = Path(__file__).parents[1]
    notebooks = {}
    for name in (_INGEST, *_OVERVIEWS):
        paths = [folder / f"{name}.ipynb" for folder in (package.parent / "notebooks", package / "notebooks")]
        path = next(filter(Path.is_file, paths), None)
        if not path:
            raise ReportError(f"{name}.ipynb: not found beside the package; run from a checkout of the project")
        needed = json.loads(path.read_text("utf-8"))["metadata"].get("foundation", {}).get("sources", [])
        if set(needed) <= {source.name for source in sources}:
            notebooks[name] = path
    return notebooks


def _run_notebooks(run: ReportRun, report: Report, limits: Mapping[str, float]) -> None:
    """Run `01_ingest` for each source, after those that it refers to, then the notebooks about all."""
    from foundation.report.kernels import forked_kernels

    check_parameters(run.notebooks.values(), {**run.parameters, "run_id": report.run_id, "source": ""})
    after = _dependencies(run)
    order = TopologicalSorter(after)
    order.prepare()
    running: dict[Future[None], Page] = {}
    files = [path for source in run.chosen for path in paths_of(source, run.data)]
    has_large = any(file.is_file() and file.stat().st_size >= Tuning.worker_bytes for file in files)
    with run.target.loading():
        (report.folder / "notebooks").mkdir(parents=True)
        sys.stderr.write(visible(f"This run is made because {report.why}.", 1_000) + "\n")
        # A large file keeps two processors busy by itself.
        with ThreadPoolExecutor(1 if has_large else 2) as pool, forked_kernels() as kernels:
            options = {"kernels": kernels, **limits}
            while order.is_active():
                running |= {pool.submit(_run_notebook, run, report, page, options): page for page in order.get_ready()}
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    order.done(running.pop(future))
    report.pages.sort(key=list(after).index)


def _dependencies(run: ReportRun) -> dict[Page, set[Page]]:
    """The pages of a run, each with those to be made before: of the parents of its source, or of all sources."""
    pages = {source.name: Page(_INGEST, source.name) for source in run.chosen}
    after = {
        pages[source.name]: {pages[name] for name in {*source.references.values()} & pages.keys() - {source.name}}
        for source in run.chosen
    }
    return after | {Page(name): set(pages.values()) for name in run.notebooks if name != _INGEST}


def _run_notebook(run: ReportRun, report: Report, page: Page, options: dict[str, Any]) -> None:
    """Run a notebook and make its page; not when it would load a source after a load was stopped."""
    from foundation.report.notebook import run_notebook

    if page.source and run.target.is_stopped(report.run_id):
        return
    sys.stderr.write(page.label + "\n")  # in one piece, for two may write
    copy, html = report.folder / page.notebook, report.folder / page.href
    parameters = {**run.parameters, "run_id": report.run_id, "source": page.source}
    # A notebook leaves a loop in its thread, and in it what waits for a cell that took too long.
    with asyncio.Runner(loop_factory=ensure_event_loop):
        page.failure = run_notebook(run.notebooks[page.name], copy, parameters, **options)
    page.title = make_page(copy, html, run_id=report.run_id, name=page.source, failure=page.failure)
    report.pages.append(page)


def _close(run: ReportRun, report: Report, inputs: list[Entity], loads_before: int) -> None:
    """Write what the run came to: its entry in the ledger, its index, the index of all runs, its manifest."""
    with open_database(run.target.address, sources=run.sources) as database:
        loads, tables = files_of(database, report.run_id), content(database)
    report.count(loads)
    run.target.finish(report.run_id, report.status)
    with open_database(run.target.address, sources=run.sources) as database:
        write_index(report, database, loads, str(run.parameters.get("memory_limit", "500MB")))
    write_index_of_runs(report.folder.parent)
    write_manifest(report, inputs, loads, tables, loads_before=loads_before)
