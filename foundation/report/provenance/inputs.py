"""What a result depends on: files, notebooks, code, versions and parameters, as the entities of an RO-Crate."""

import hashlib
import mimetypes
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from re import match
from typing import Any

PACKAGE = Path(__file__).parents[2]
Entity = dict[str, Any]


def stood_on(
    inputs: Mapping[Path, str], notebooks: Iterable[Path], parameters: Mapping[str, Any], *, sqlite: str
) -> list[Entity]:
    """The entities that a result depends on: digests of named files and of our code, versions, parameters.

    No *sqlite* where a folder of Parquet is loaded into: the packages for that are among the others.
    """
    code = sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".sql", ".j2", ".css"))
    return [
        *(
            file_entity(path, path.absolute().as_uri()) | {"name": name}
            for path, name in inputs.items()
            if digest_of(path)
        ),
        *(_source(f"#notebook/{path.stem}", path) for path in notebooks),
        *(_source(f"#code/{path.relative_to(PACKAGE).as_posix()}", path) for path in code),
        *(_tool(name, told) for name, told in (_versions() | ({"sqlite": sqlite} if sqlite else {})).items()),
        *(property_entity(f"#parameter/{name}", value) for name, value in parameters.items()),
    ]


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What differs, what it was then and what it is now, in the order of the earlier one."""
    names = [*then, *(name for name in now if name not in then)]
    return [(name, _told(then.get(name)), _told(now.get(name))) for name in names if then.get(name) != now.get(name)]


def _told(value: Any) -> str:
    return "–" if value is None else str(value)[:12] if match("[0-9a-f]{64}$", str(value)) else str(value)


def _versions() -> dict[str, str]:
    """Python, and the packages that are asked for by name, as they are installed."""
    found = {"foundation": version("foundation"), "python": platform.python_version()}
    wanted = [told for told in requires("foundation") or [] if 'extra == "dev"' not in told.replace("'", '"')]
    for told in wanted:
        name = match(r"[\w.-]+", told)[0]  # type: ignore[index]  # a requirement begins with a name
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit(git: Path) -> str | None:
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


def digest_of(path: Path) -> str | None:
    """The sha256 of a file; None when it is not there, cannot be read, or is none."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def file_entity(path: Path, id_: str) -> Entity:
    """A file with its size in bytes and its digest."""
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
    return file_entity(path, id_) | {"@type": "SoftwareSourceCode", "programmingLanguage": "Python"}


def _tool(name: str, told: str) -> Entity:
    return {"@id": f"#version/{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": told}


def property_entity(id_: str, value: Any) -> Entity:
    """A value that stands in no file."""
    return {"@id": id_, "@type": "PropertyValue", "name": id_.partition("/")[2] or id_[1:], "value": value}
