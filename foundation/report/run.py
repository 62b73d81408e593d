"""Run the notebooks over a delivery: one page for each, an index of the run, an index of all runs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from foundation.delivery.sources import SOURCES
from foundation.errors import ReportError, visible
from foundation.lake.duckdb import open_database
from foundation.pipeline.load import choose
from foundation.pipeline.worker import WORTH_IT
from foundation.report.index import told_of, write_index, write_index_of_runs
from foundation.report.provenance.crate import action, now, write_manifest
from foundation.report.provenance.freshness import basis_of, unchanged
from foundation.report.provenance.inputs import Entity
from foundation.report.result import Page, Report
from foundation.report.target import address_of, end, is_stopped, loading, look, on_disk
from foundation.schema.files import paths_of
from foundation.schema.source import Source
from foundation.stats.overview import content
from foundation.store.ledger import new_run_id

_ABOUT_ALL: dict[str, set[str]] = {
    "02_overview": set(),
    "03_explore": {source.name for source in SOURCES},
}  # what they need

_WAIT_S = 600  # for each other: two notebooks that load at a time take turns in writing


def make_report(
    data: Path | str, db: Path | str, out: Path, *, sources: Sequence[Source], only: Sequence[str],
    parameters: Mapping[str, Any], limits: Mapping[str, float] | None = None, run_id: str | None = None,
    cluster: str = "local", workers: int | None = None,
) -> Report:  # fmt: skip
    """Load *data* into *db* by one run of `01_ingest` for each source, then tell of it; pages go to *out*/<run>.

    *parameters* are passed to the notebooks that declare them. A notebook that fails gets its page all the same. When
    nothing has changed since the last run, that one is given, unless the parameter `again` or a *run_id* is. *limits*
    are those of `run_notebook`, in seconds.

    With the parameter `range_size` *db* is a folder of Parquet, and all notebooks load on one cluster: the one that
    *cluster* is the address of, or a `local` one of so many *workers*.
    """
    data = on_disk(data)
    chosen = choose(sources, only, data)
    given = {"data": str(data.absolute()), "db": address_of(db), "wait_s": _WAIT_S, **parameters}
    overviews = [name for name, needed in _ABOUT_ALL.items() if needed <= {source.name for source in sources}]
    notebooks = [_notebook(name) for name in ("01_ingest", *overviews)]
    before, sqlite = look(given, sources, only)
    basis = basis_of(data, chosen, notebooks, given, sqlite)
    why = "it was asked for" if run_id or given.get("again") else unchanged(out, given["db"], basis, sources)
    if isinstance(why, Report):
        return why
    run_id = run_id or new_run_id()
    _check(notebooks, given | {"run_id": run_id, "source": ""})
    report = Report(run_id, out / run_id, why=why, delivery=data.absolute().name, database=Path(given["db"]).name)
    with loading(given, cluster, workers):
        (report.folder / "notebooks").mkdir(parents=True)
        sys.stderr.write(visible(f"This run is made because {why}.", 1_000) + "\n")
        _run_all(
            report, chosen, overviews, given | {"run_id": run_id}, limits or {},
            side_by_side=_side_by_side(chosen, data),
        )  # fmt: skip
    _close(report, sources, given, basis, before)
    return report


def _check(notebooks: list[Path], given: dict[str, Any]) -> None:
    from foundation.report.engine import check_parameters

    check_parameters(notebooks, given)


def _side_by_side(chosen: Sequence[Source], data: Path) -> int:
    """How many notebooks run at a time: a large file keeps two processors busy by itself."""
    files = [path for source in chosen for path in paths_of(source, data)]
    return 1 if any(file.is_file() and file.stat().st_size >= WORTH_IT for file in files) else 2


def _run_all(
    report: Report, chosen: Sequence[Source], overviews: Sequence[str], given: dict[str, Any],
    limits: Mapping[str, float], *, side_by_side: int,
) -> None:  # fmt: skip
    """One notebook for each source, behind those of its parents, then those that tell of all."""
    from foundation.report.kernels import forked_kernels

    with ThreadPoolExecutor(side_by_side) as pool, forked_kernels() as kernels:

        def run(page: Page, after: Iterable["Future[Page | None]"], **more: str) -> "Future[Page | None]":
            return pool.submit(_run, report, page, given | more, {"kernels": kernels, **limits}, list(after))

        loading: dict[str, Future[Page | None]] = {}
        for source in chosen:
            parents = [loading[name] for name in source.references.values() if name in loading]
            loading[source.name] = run(Page("01_ingest", source.name), parents, source=source.name)
        wait(loading.values())
        telling = [run(Page(name), ()) for name in overviews]
        report.pages += [page for made in (*loading.values(), *telling) if (page := made.result())]


def _run(
    report: Report, page: Page, given: dict[str, Any], how: dict[str, Any], after: "list[Future[Page | None]]"
) -> Page | None:
    """Run a notebook and make its page; none for a source that is not loaded because a load before it was stopped."""
    from foundation.report.engine import close_loop, run_notebook
    from foundation.report.html import make_page

    wait(after)
    if page.source and is_stopped(given, report.run_id):
        return None
    sys.stderr.write(f"{page.name} {page.source}".rstrip() + "\n")  # in one piece, for two may write
    copy = report.folder / page.notebook
    page.failure = run_notebook(_notebook(page.name), copy, given, **how)
    close_loop()
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


def _close(
    report: Report, sources: Sequence[Source], given: Mapping[str, Any], basis: list[Entity], before: int
) -> None:
    """Write what the run came to: its entry in the ledger, its index, the index of all runs, its manifest."""
    with open_database(given["db"], sources=sources) as database:
        told, held = told_of(database, report.run_id), content(database)
    statuses = {load["status"] for load in told.loads}
    failed = any(page.failure for page in report.pages)
    report.status = next((s for s in ("stopped", "refused") if s in statuses), "failed" if failed else "complete")
    report.read, report.rejected = (sum(load[name] for load in told.loads) for name in ("read", "rejected"))
    report.stored = sum(load[name] for load in told.loads for name in ("inserted", "updated", "unchanged"))
    report.attention = len(told.attention)
    end(given, report.run_id, report.status)
    write_index(report, told, given)
    write_index_of_runs(report.folder.parent)
    failures = [f"{page.stem}: {page.failure}" for page in report.pages if page.failure]
    failures += ["the load was stopped before its end"] if "stopped" in statuses else []
    write_manifest(
        report.folder, report.run_id, basis, times=(report.began, now()), failure="; ".join(failures) or None,
        before=before, content=held, loads=told.loads,
        actions=[_action(report, page, basis, held, told.loads) for page in report.pages],
    )  # fmt: skip


def _action(
    report: Report, page: Page, basis: list[Entity], tables: Iterable[str], told: Iterable[Mapping[str, Any]]
) -> Entity:
    """What a notebook did: made its page out of a file, or out of the tables if it is about all."""
    from foundation.report.engine import times_of

    uris = {Path(load["path"]).as_uri() for load in told if load["source"] == page.source}
    used = [e["@id"] for e in basis if e["@id"] in uris] if page.source else [f"#content/{table}" for table in tables]
    return action(
        f"#{report.run_id}/{page.stem}", f"{page.name} {page.source}".rstrip(), f"#notebook/{page.name}",
        times_of(report.folder / page.notebook), page.failure, used=used, made=[page.notebook, page.href],
    )  # fmt: skip
