"""Whether a run has to be made, or the last one still stands."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundation.delivery.sources import SOURCES
from foundation.lake.duckdb import open_database
from foundation.report.provenance.crate import last_run, outlined
from foundation.report.provenance.inputs import Entity, changes, stood_on
from foundation.report.result import Report, read_report
from foundation.schema.files import paths_of
from foundation.schema.source import Source
from foundation.stats.overview import content


def basis_of(
    data: Path, chosen: Sequence[Source], notebooks: list[Path], given: dict[str, Any], sqlite: str
) -> list[Entity]:
    """What a run depends on that loads *chosen* with these parameters."""
    inputs = {path: path.relative_to(data).as_posix() for source in chosen for path in paths_of(source, data)}
    inputs |= {path: path.name for path in map(Path, filter(None, [given.get("sources")]))}
    only = ",".join(source.name for source in chosen)
    return stood_on(inputs, notebooks, given | {"only": only}, sqlite=sqlite)


def unchanged(out: Path, db: Path | str, basis: list[Entity], sources: Sequence[Source] = SOURCES) -> Report | str:
    """Why another run is to be made; the last one if its result stands."""
    last = last_run(out, basis_now := outlined(basis))
    if not last:
        return "there is none yet of this delivery into this database"
    run = f"run {last.folder.name}"
    if changed := [name for name, *_ in changes(last.basis, basis_now) if name != "parameter again"]:
        return f"{_listed(changed)} changed since {run}"
    with open_database(db, sources=sources) as database:
        held = {f"content {table}": digest for table, digest in content(database).items()}
    given = {name: value for name, value in last.results.items() if name.startswith("content ")}
    if changed := [name for name, *_ in changes(given, held)]:
        return f"the database does not hold what {run} left: {_listed(changed)} changed"
    report = read_report(last.folder)
    if report.status not in ("complete", "refused") or any(page.failure for page in report.pages):
        return f"{run} did not come to its end"
    if lost := [name for name in last.files if not (last.folder / name).is_file()]:
        return f"{run} is not whole: {_listed(lost)} is gone"
    return replace(report, kept=True, why=f"nothing has changed since {run}")


def _listed(names: list[str]) -> str:
    first, *rest = names
    return first + (f" and {len(rest)} more" if rest else "")
