"""What a run stood on and what came of it: `ro-crate-metadata.json`, a Process Run Crate.

The profile is w3id.org/ro/wfrun/process/0.5, on RO-Crate 1.1. What can change a result is an entity with a digest, a
version or a value: inputs by the address of their file, all else under `#notebook/`, `#code/`, `#version/` and
`#parameter/`; what came of the run under `#content/` (a digest for each table) and `#load/` (what each file counted).
"""

import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from foundation.errors import ReportError
from foundation.report.provenance.inputs import PACKAGE, Entity, commit, file_entity, property_entity

NAME = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_STATUS = "http://schema.org/{}ActionStatus"


class Manifest(NamedTuple):
    """A manifest read back; each mapping is from `notebook 01_ingest` or the like to a digest, version or value."""

    folder: Path
    basis: dict[str, Any]  # what the run stood on
    results: dict[str, Any]  # what came of it, the bytes of its files apart
    files: dict[str, str]  # digests of the files beside the manifest
    before: int  # loads that the database had seen when the run began


def outlined(entities: Iterable[Entity]) -> dict[str, Any]:
    """What of *entities* a result depends on, by kind and name."""
    return {
        key: _value(entity)
        for entity in entities
        if (key := _key(entity, ("notebook", "code", "version", "parameter")))
    }


def _key(entity: Entity, kinds: tuple[str, ...]) -> str | None:
    if entity["@id"].startswith("file:") and "notebook" in kinds:
        return f"input {entity['name']}"
    kind, _, name = entity["@id"].removeprefix("#").partition("/")
    return f"{kind} {name}" if entity["@id"].startswith("#") and kind in kinds and name else None


def _value(entity: Entity) -> Any:
    return next(entity[name] for name in ("sha256", "softwareVersion", "value") if name in entity)


def write_manifest(
    folder: Path, run_id: str, basis: list[Entity], *, times: tuple[str, str], failure: str | None, before: int,
    content: Mapping[str, str], loads: Iterable[Mapping[str, Any]], actions: Iterable[Entity],
) -> None:  # fmt: skip
    """Write the manifest of a run whose other files all stand in *folder*.

    *times* are the begin and the end, *actions* what the notebooks did, as `action` gives them.
    """
    files = [
        file_entity(path, path.relative_to(folder).as_posix())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    ]
    came = [
        *(property_entity(f"#content/{table}", digest) for table, digest in content.items()),
        *(property_entity(f"#load/{id_}.{name}", load[name]) for id_, load in _numbered(loads) for name in _LOAD),
    ]
    whole = action(
        f"#{run_id}", f"Run {run_id}", "#version/foundation", times, failure,
        used=[e["@id"] for e in basis if not e["@id"].startswith(("#code/", "#version/"))],
        made=["index.html", *(entity["@id"] for entity in came)],
    )  # fmt: skip
    done = [whole, *actions]
    parts = [e for e in [*files, *basis] if e["@type"] == "File"]
    graph = [*_frame(run_id, times[1], parts, done), *files, *basis, *came, *done, *_surroundings(before)]
    crate = {
        "@context": [f"https://w3id.org/ro/{c}/context" for c in ("crate/1.1", "terms/workflow-run")],
        "@graph": graph,
    }
    (folder / NAME).write_text(json.dumps(crate, indent=1, ensure_ascii=False), encoding="utf-8")


def _numbered(loads: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The loads with the names of their sources, from the second file of a source on with its number."""
    met: Counter[str] = Counter()
    for load in loads:
        met[load["source"]] += 1
        number = met[load["source"]]
        yield f"{load['source']}.{number}" if number > 1 else load["source"], load


_LOAD = ("status", "sha256", "read", "inserted", "updated", "unchanged", "rejected")


def action(
    id_: str, name: str, tool: str, times: tuple[str, str], failure: str | None, *, used: list[str], made: list[str]
) -> Entity:
    """The entity that says when a tool made what out of what; it failed if there is a *failure*, in words."""
    told = {
        "@id": id_, "@type": "CreateAction", "name": name, "instrument": {"@id": tool},
        "startTime": times[0], "endTime": times[1],
        "object": [{"@id": name} for name in used], "result": [{"@id": name} for name in made],
        "actionStatus": _STATUS.format("Failed" if failure else "Completed"),
    }  # fmt: skip
    return told | ({"error": failure} if failure else {})


def read_manifest(folder: Path) -> Manifest:
    """What the manifest in *folder* says; raises ReportError when there is none, or none of ours."""
    try:
        graph = json.loads((folder / NAME).read_text("utf-8"))["@graph"]
        files = {e["@id"]: e["sha256"] for e in graph if e["@type"] == "File" and ":" not in e["@id"]}
        results = {key: _value(e) for e in graph if (key := _key(e, ("content", "load")))}
        (before,) = (entity["value"] for entity in graph if entity["@id"] == "#before")
        return Manifest(folder, outlined(graph), results, files, before)
    except OSError as error:
        raise ReportError(f"{folder / NAME}: {error.strerror}; name the folder of a run, as reports/<run>") from error
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ReportError(
            f"{folder / NAME}: not a manifest that foundation wrote; restore the folder of the run"
        ) from error


def last_run(out: Path, basis: Mapping[str, Any]) -> Manifest | None:
    """The newest run in *out* of the same delivery into the same database."""
    for path in sorted(out.glob(f"*/{NAME}"), reverse=True):
        with suppress(ReportError):
            found = read_manifest(path.parent)
            if all(
                found.basis.get(f"parameter {name}") == basis[f"parameter {name}"] for name in ("data", "db", "only")
            ):
                return found
    return None


def _frame(run_id: str, published: str, parts: list[Entity], actions: list[Entity]) -> list[Entity]:
    """The entities that every crate has: the file, the folder, the profile, the licence."""
    return [
        {
            "@id": NAME, "@type": "CreativeWork", "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        },
        {
            "@id": "./", "@type": "Dataset", "name": f"Run {run_id}", "datePublished": published,
            "description": "Files loaded into a database through notebooks, with a page for each notebook.",
            "conformsTo": {"@id": PROFILE}, "license": {"@id": "#license"},
            "hasPart": [{"@id": part["@id"]} for part in parts],
            "mentions": [{"@id": done["@id"]} for done in actions],
        },
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {"@id": "#license", "@type": "CreativeWork", "name": "None is given here; it is that of the delivered files."},
    ]  # fmt: skip


def _surroundings(before: int) -> list[Entity]:
    """What is told of a run besides, and changes nothing: machine, commit, what the database had seen."""
    machine = f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} processors"
    head = commit(PACKAGE.parent / ".git")
    return [
        property_entity("#before", before) | {"name": "loads that the database had seen before"},
        property_entity("#machine", machine),
        *([property_entity("#commit", head)] if head else []),
    ]


def now() -> str:
    """The time in UTC as a manifest has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
