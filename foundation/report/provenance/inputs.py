"""What the result of a run depends on: files, notebooks, code, versions and parameters, as entities of an RO-Crate."""

import hashlib
import mimetypes
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, NamedTuple

from foundation.report.result import ReportRun
from foundation.schema import paths_of

PACKAGE = Path(__file__).parents[2]
Entity = dict[str, Any]
_CODE = (".py", ".sql", ".j2", ".css", ".json", ".mplstyle")
_IS_CODE = {"@type": "SoftwareSourceCode", "programmingLanguage": "Python"}
Key = tuple[str, str]  # kind and name


class Difference(NamedTuple):
    """What is not as it was; `kind` is input, notebook, code, version, parameter, file, content, load, cell or page."""

    kind: str
    where: str
    then: str
    now: str


def current_inputs(run: ReportRun) -> list[Entity]:
    """The entities that the result of *run* depends on, as they are now."""
    files = {path: path.relative_to(run.data).as_posix() for s in run.chosen for path in paths_of(s, run.data)}
    if declared := run.parameters.get("sources"):
        files[Path(declared)] = Path(declared).name
    code = {f"#notebook/{name}": path for name, path in run.notebooks.items()}
    for path in sorted(path for path in PACKAGE.rglob("*") if path.suffix in _CODE):
        code[f"#code/{path.relative_to(PACKAGE).as_posix()}"] = path
    values = {**run.parameters, "only": ",".join(source.name for source in run.chosen)}
    return [
        *(file_entity(path, path.absolute().as_uri()) | {"name": files[path]} for path in files if digest_of(path)),
        *(file_entity(path, id_) | _IS_CODE for id_, path in code.items()),
        *(_tool_entity(name, its) for name, its in (_versions() | run.target.versions).items()),
        *(property_entity(f"#parameter/{name}", value) for name, value in values.items()),
    ]


def _versions() -> dict[str, str]:
    """Those of Python and of the packages that ours asks for, as they are installed."""
    versions = {"foundation": version("foundation"), "python": platform.python_version()}
    for requirement in requires("foundation") or []:
        name = re.match(r"[\w.-]+", requirement)
        if name and 'extra == "dev"' not in requirement.replace("'", '"'):
            with suppress(PackageNotFoundError):
                versions[name[0]] = version(name[0])
    return versions


def differences(then: Mapping[Key, Any], now: Mapping[Key, Any]) -> list[Difference]:
    """What differs, in the order of the earlier one."""
    keys = [*then, *(key for key in now if key not in then)]
    return [
        Difference(*key, _short(then.get(key)), _short(now.get(key))) for key in keys if then.get(key) != now.get(key)
    ]


def _short(value: Any) -> str:
    return "–" if value is None else str(value)[:12] if re.match("[0-9a-f]{64}$", str(value)) else str(value)


def commit(git: Path) -> str | None:
    """The commit that is checked out, read without git."""
    with suppress(OSError, ValueError, StopIteration):
        head = (git / "HEAD").read_text("ascii").strip()
        ref = head.removeprefix("ref: ")
        if ref == head:
            return head
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
    return {
        "@id": id_,
        "@type": "File",
        "name": path.name,
        "encodingFormat": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "contentSize": str(path.stat().st_size),
        "sha256": digest_of(path),
    }


def _tool_entity(name: str, its_version: str) -> Entity:
    return {"@id": f"#version/{name}", "@type": "SoftwareApplication", "name": name, "softwareVersion": its_version}


def property_entity(id_: str, value: Any) -> Entity:
    """A value that is in no file."""
    return {"@id": id_, "@type": "PropertyValue", "name": id_.partition("/")[2] or id_[1:], "value": value}
