"""What a run stood on and what came of it: `ro-crate-metadata.json`, a Process Run Crate.

The profile is w3id.org/ro/wfrun/process/0.5, on RO-Crate 1.1. What can change a result is an entity with a digest, a
version or a value: inputs by the address of their file, all else under `#notebook/`, `#code/`, `#version/` and
`#parameter/`; what came of the run under `#content/` (a digest for each table) and `#load/`.
"""

import hashlib
import json
import mimetypes
import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from re import match
from typing import Any, NamedTuple
from urllib.parse import quote as in_address

from foundation.errors import ReportError

NAME = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_PACKAGE = Path(__file__).parents[1]
_STATUS = "http://schema.org/{}ActionStatus"
Entity = dict[str, Any]


class Manifest(NamedTuple):
    """A manifest read back; each mapping is from `notebook 01_ingest` or the like to a digest, version or value."""

    folder: Path
    basis: dict[str, Any]  # what the run stood on
    results: dict[str, Any]  # what came of it, the bytes of its files apart
    files: dict[str, str]  # digests of the files beside the manifest
    before: int  # loads that the database had seen when the run began


def stood_on(
    inputs: Iterable[Path], notebooks: Iterable[Path], parameters: Mapping[str, Any], *, sqlite: str
) -> list[Entity]:
    """The entities that a result depends on: digests of files and of our code, versions, parameters."""
    code = sorted(p for p in _PACKAGE.rglob("*") if p.suffix in (".py", ".sql", ".j2", ".css"))
    return [
        *(_file(path, path.absolute().as_uri()) for path in inputs if digest_of(path)),
        *(_source(f"#notebook/{path.stem}", path) for path in notebooks),
        *(_source(f"#code/{path.relative_to(_PACKAGE).as_posix()}", path) for path in code),
        *(_tool(name, told) for name, told in (_versions() | {"sqlite": sqlite}).items()),
        *(_property(f"#parameter/{name}", value) for name, value in parameters.items()),
    ]


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


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What differs, what it was then and what it is now, in the order of the earlier one."""
    names = [*then, *(name for name in now if name not in then)]
    return [(name, _told(then.get(name)), _told(now.get(name))) for name in names if then.get(name) != now.get(name)]


def _told(value: Any) -> str:
    return "–" if value is None else str(value)[:12] if match("[0-9a-f]{64}$", str(value)) else str(value)


def write_manifest(
    folder: Path, run_id: str, basis: list[Entity], *, times: tuple[str, str], failure: str | None, before: int,
    content: Mapping[str, str], loads: Iterable[Mapping[str, Any]], actions: Iterable[Entity],
) -> None:  # fmt: skip
    """Write the manifest of a run whose other files all stand in *folder*.

    *times* are the begin and the end, *actions* what the notebooks did, as `action` gives them.
    """
    files = [
        _file(path, _address(path, folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    ]
    came = [
        *(_property(f"#content/{table}", digest) for table, digest in content.items()),
        *(_property(f"#load/{load['source']}", {n: load[n] for n in _LOAD}) for load in loads),
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
    commit = _commit(_PACKAGE.parent / ".git")
    return [
        _property("#before", before) | {"name": "loads that the database had seen before"},
        _property("#machine", machine),
        *([_property("#commit", commit)] if commit else []),
    ]


def _commit(git: Path) -> str | None:
    """The commit that is checked out, read without git."""
    with suppress(OSError, ValueError, StopIteration):
        head = (git / "HEAD").read_text("ascii").strip()
        if not head.startswith("ref: "):
            return head
        ref = head.removeprefix("ref: ")
        if (git / ref).is_file():
            return (git / ref).read_text("ascii").strip()
        packed = (git / "packed-refs").read_text("ascii").splitlines()
        return next(line.split()[0] for line in packed if line.endswith(f" {ref}"))
    return None


def _versions() -> dict[str, str]:
    """Python, and the packages that are asked for by name, as they are installed."""
    found = {"foundation": version("foundation"), "python": platform.python_version()}
    wanted = [told for told in requires("foundation") or [] if 'extra == "dev"' not in told.replace("'", '"')]
    for told in wanted:
        name = match(r"[\w.-]+", told)[0]  # type: ignore[index]  # a requirement begins with a name
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def digest_of(path: Path) -> str | None:
    """The sha256 of a file; None when it is not there, cannot be read, or is none."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _file(path: Path, id_: str) -> Entity:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    size = str(path.stat().st_size)
    return {
        "@id": id_,
        "@type": "File",
        "name": path.name,
        "encodingFormat": kind,
        "contentSize": size,
        "sha256": digest_of(path),
    }


def _source(id_: str, path: Path) -> Entity:
    return _file(path, id_) | {"@type": "SoftwareSourceCode", "programmingLanguage": "Python"}


def _tool(name: str, told: str) -> Entity:
    return {"@id": f"#version/{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": told}


def _property(id_: str, value: Any) -> Entity:
    return {"@id": id_, "@type": "PropertyValue", "name": id_.partition("/")[2] or id_[1:], "value": value}


def _address(path: Path, folder: Path) -> str:
    return in_address(path.relative_to(folder).as_posix())


def now() -> str:
    """The time in UTC as a manifest has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
