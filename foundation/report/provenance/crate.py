"""What a run used and what came of it: `ro-crate-metadata.json`, a Process Run Crate.

The profile is w3id.org/ro/wfrun/process/0.5, on RO-Crate 1.1. What can change a result is an entity with a digest, a
version or a value: inputs by the address of their file, all else under `#notebook/`, `#code/`, `#version/` and
`#parameter/`; what came of the run under `#content/` (a digest for each table) and `#load/` (what each file counted).
"""

import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from foundation.errors import ReportError
from foundation.report.provenance.inputs import PACKAGE, Entity, Key, commit, file_entity, property_entity
from foundation.report.result import Page, Report, now
from foundation.store import COUNTS, RunStatus

NAME = "ro-crate-metadata.json"


class Manifest(NamedTuple):
    """A manifest read back: digests, versions and values by kind and name."""

    folder: Path
    inputs: dict[Key, Any]
    results: dict[Key, Any]  # what came of it, the bytes of its files apart
    files: dict[str, str]  # digests of the files beside the manifest
    loads_before: int  # that the database had seen when the run began


def by_name(
    entities: Iterable[Entity], kinds: Sequence[str] = ("input", "notebook", "code", "version", "parameter")
) -> dict[Key, Any]:
    """The digests, versions and values of the entities of these kinds."""
    values = {}
    for entity in entities:
        kind, _, name = entity["@id"].partition("/")
        key = ("input", entity["name"]) if kind == "file:" else (kind.removeprefix("#"), name)
        if key[0] in kinds:
            values[key] = next(entity[name] for name in ("sha256", "softwareVersion", "value") if name in entity)
    return values


def read_manifest(folder: Path) -> Manifest:
    """What the manifest in *folder* says; raises ReportError when there is none, or none of ours."""
    try:
        graph = json.loads((folder / NAME).read_text("utf-8"))["@graph"]
        files = {e["@id"]: e["sha256"] for e in graph if e["@type"] == "File" and ":" not in e["@id"]}
        (loads_before,) = (entity["value"] for entity in graph if entity["@id"] == "#before")
        return Manifest(folder, by_name(graph), by_name(graph, ("content", "load")), files, loads_before)
    except OSError as error:
        raise ReportError(f"{folder / NAME}: {error.strerror}; name the folder of a run, as reports/<run>") from error
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        what = "not a manifest that foundation wrote; restore the folder of the run"
        raise ReportError(f"{folder / NAME}: {what}") from error


def write_manifest(
    report: Report, inputs: list[Entity], loads: list[dict[str, Any]], tables: Mapping[str, str], *, loads_before: int
) -> None:
    """Write the manifest of a run whose other files are in its folder; *tables* are the digests of their content."""
    files = [
        file_entity(path, path.relative_to(report.folder).as_posix())
        for path in sorted(report.folder.rglob("*"))
        if path.is_file() and path.name != NAME
    ]
    results = [
        *(property_entity(f"#content/{table}", digest) for table, digest in tables.items()),
        *(property_entity(f"#load/{name}", value) for name, value in _load_facts(loads)),
    ]
    machine = f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} processors"
    surroundings = [  # which change no result
        property_entity("#before", loads_before) | {"name": "loads that the database had seen before"},
        property_entity("#machine", machine),
        *(property_entity("#commit", head) for head in [commit(PACKAGE.parent / ".git")] if head),
    ]
    ended = now()
    actions = [_run_action(report, inputs, results, ended)]
    actions += [_page_action(report, page, inputs, loads, tables) for page in report.pages]
    crate = json.loads((PACKAGE / "report/template/crate.json").read_text("utf-8"))
    _, root, *_ = crate["@graph"]
    root |= {"name": f"Run {report.run_id}", "datePublished": ended, "mentions": _references(actions)}
    root["hasPart"] = _references(entity for entity in [*files, *inputs] if entity["@type"] == "File")
    crate["@graph"] += [*files, *inputs, *results, *actions, *surroundings]
    (report.folder / NAME).write_text(json.dumps(crate, indent=1, ensure_ascii=False), encoding="utf-8")


def _references(entities: Iterable[Entity]) -> list[Entity]:
    return [{"@id": entity["@id"]} for entity in entities]


def _load_facts(loads: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """What each file came to; from the second file of a source on with its number."""
    numbers: Counter[str] = Counter()
    for load in loads:
        source = load["source"]
        numbers[source] += 1
        name = f"{source}.{numbers[source]}" if numbers[source] > 1 else source
        yield from ((f"{name}.{fact}", load[fact]) for fact in ("status", "sha256", *COUNTS))


def _run_action(report: Report, inputs: list[Entity], results: list[Entity], ended: str) -> Entity:
    """What the run as a whole did."""
    stopped = ["the load was stopped before its end"] if report.status == RunStatus.STOPPED else []
    used = [entity["@id"] for entity in inputs if not entity["@id"].startswith(("#code/", "#version/"))]
    made, failure = ["index.html", *(entity["@id"] for entity in results)], "; ".join(report.failures() + stopped)
    times = report.began, ended
    return _action(f"#{report.run_id}", f"Run {report.run_id}", "#version/foundation", times, failure, used, made)


def _page_action(
    report: Report, page: Page, inputs: list[Entity], loads: list[dict[str, Any]], tables: Iterable[str]
) -> Entity:
    """What a notebook did: made its page out of a file, or out of the tables if it is about all."""
    from foundation.report.notebook import read_outcome

    outcome = read_outcome(report.folder / page.notebook)
    files = {Path(load["path"]).as_uri() for load in loads if load["source"] == page.source}
    of_source = [entity["@id"] for entity in inputs if entity["@id"] in files]
    used = of_source if page.source else [f"#content/{table}" for table in tables]
    id_, tool, times = f"#{report.run_id}/{page.stem}", f"#notebook/{page.name}", (outcome.started, outcome.ended)
    return _action(id_, page.label, tool, times, page.failure, used, [page.notebook, page.href])


def _action(
    id_: str, name: str, tool: str, times: tuple[str, str], failure: str | None, used: list[str], made: list[str]
) -> Entity:
    """A tool made something out of something; it failed if there is a *failure*, in words."""
    return {
        "@id": id_, "@type": "CreateAction", "name": name, "instrument": {"@id": tool},
        "startTime": times[0], "endTime": times[1],
        "object": [{"@id": name} for name in used], "result": [{"@id": name} for name in made],
        "actionStatus": f"http://schema.org/{'Failed' if failure else 'Completed'}ActionStatus",
    } | ({"error": failure} if failure else {})  # fmt: skip
