"""Whether the last run is up to date, or another has to be made, and why."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundation.errors import ReportError
from foundation.lake.duckdb import open_database
from foundation.report.provenance.crate import NAME, Manifest, by_name, read_manifest
from foundation.report.provenance.inputs import Entity, Key, differences
from foundation.report.result import Report, ReportRun, read_report
from foundation.stats import content
from foundation.store import RunStatus


def up_to_date(out: Path, run: ReportRun, inputs: list[Entity]) -> Report | str:
    """The last run in *out* if its result is that of these inputs; else why another is to be made."""
    now = by_name(inputs)
    last = _last_run(out, now)
    if not last:
        return "there is none yet of this delivery into this database"
    name = f"run {last.folder.name}"
    if changed := [key for key in _changed(last.inputs, now) if key != "parameter again"]:
        return f"{_listed(changed)} changed since {name}"
    with open_database(run.target.address, sources=run.sources) as database:
        tables = {("content", table): digest for table, digest in content(database).items()}
    if changed := _changed({key: value for key, value in last.results.items() if key[0] == "content"}, tables):
        return f"the database does not hold what {name} left: {_listed(changed)} changed"
    report = read_report(last.folder)
    if report.status not in (RunStatus.COMPLETE, RunStatus.REFUSED) or report.failures():
        return f"{name} did not come to its end"
    if lost := [file for file in last.files if not (last.folder / file).is_file()]:
        return f"{name} is not whole: {_listed(lost)} is gone"
    return replace(report, kept=True, why=f"nothing has changed since {name}")


def _last_run(out: Path, inputs: Mapping[Key, Any]) -> Manifest | None:
    """The newest run in *out* of the same delivery into the same database."""
    same = [("parameter", name) for name in ("data", "db", "only")]
    for path in sorted(out.glob(f"*/{NAME}"), reverse=True):
        with suppress(ReportError):
            manifest = read_manifest(path.parent)
            if all(manifest.inputs.get(key) == inputs[key] for key in same):
                return manifest
    return None


def _changed(then: Mapping[Key, Any], now: Mapping[Key, Any]) -> list[str]:
    return [f"{difference.kind} {difference.where}" for difference in differences(then, now)]


def _listed(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
