"""The manifest of a folder of Parquet: the runs and loads that it has seen, and the files that count.

It is written last, and at once: what it does not name is not there. A load has its parts, each with its files.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from foundation.errors import StoreError
from foundation.lake.splits import Part
from foundation.reader import Position
from foundation.schema import Source
from foundation.store import LoadStatus, write_lock

MANIFEST = "_foundation.json"


@dataclass(frozen=True)
class PartResult:
    """What came of a part: files with the records in them, None where there are none, and columns with bad values.

    `failed` has for each column how many values were refused, and the least of them, under no name for records whose
    bytes are no text; `keys` are the first and the last key of the rows, if each is greater than the one before.
    """

    part: Part
    rows: str
    stored: int
    rejects: tuple[str, ...] = ()
    rejected: int = 0
    failed: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    keys: Sequence[Any] | None = None
    seconds: float = 0.0
    rss_bytes: int = 0
    worker: str = ""  # host and process


def address_of(place: str | Path) -> tuple[str, bool]:
    """A path or an address as all workers understand it, and whether it is a path."""
    files, path = fsspec.url_to_fs(str(place))
    is_local = isinstance(files, LocalFileSystem)
    return (path if is_local else str(place)).rstrip("/"), is_local


@contextmanager
def locked(out: str | Path, wait_s: float) -> Iterator[str]:
    """The address of a folder, in which nobody else loads meanwhile if it is on a disk."""
    address, is_local = address_of(out)
    with write_lock(Path(address), wait_s=wait_s) if is_local else nullcontext():
        yield address


def exists(out: str) -> bool:
    """Whether there is a folder with a manifest at this path or address."""
    files, path = fsspec.url_to_fs(f"{out}/{MANIFEST}")
    return bool(files.exists(path))


def read_manifest(out: str) -> dict[str, Any]:
    """What the folder holds: its version, its runs and its loads, each with its files; nothing, if there is none."""
    if not exists(out):
        files, path = fsspec.url_to_fs(out)
        if files.isfile(path):
            raise StoreError(f"{out}: a file is there, and a folder of Parquet is wanted; name another place")
        return {"version": 0, "runs": [], "loads": []}
    with fsspec.open(f"{out}/{MANIFEST}", "rt", encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def write_manifest(out: str, manifest: Mapping[str, Any], source: Source | None = None) -> None:
    """Put a manifest in place of the one that is there, at once, and then take away files that it does not name.

    They are those of *source* that earlier loads have left, and loads that were cut off.
    """
    with whole_file(f"{out}/{MANIFEST}") as file:
        file.write(json.dumps(manifest).encode())
    if source:
        files, path = fsspec.url_to_fs(out)
        there = set(files.glob(f"{path}/{source.name}/*")) | set(files.glob(f"{path}/_rejects/{source.name}/*"))
        loads = [load for load in manifest["loads"] if load["source"] == source.name]
        named = {name for load in loads for name in (*load["rejects"], *(part["rows"] for part in load["parts"]))}
        if left := sorted(there - {f"{path}/{name}" for name in named}):
            files.rm(left)


def complete_load(manifest: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The load that gave the rows of a source, or nothing."""
    return next(
        (load for load in manifest["loads"] if (load["source"], load["status"]) == (source, LoadStatus.COMPLETE)), {}
    )


def parts_of(load: Mapping[str, Any]) -> list[PartResult]:
    """What came of the parts of a load that a manifest has; of none, nothing."""
    found = []
    for told in load.get("parts", ()):
        start, end, digest = told["part"]
        part = Part(Position(*start), Position(*end), digest)
        found.append(PartResult(**told | {"part": part, "rejects": tuple(told["rejects"])}))
    return found


def workers_of(out: str, loads: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each worker what it did for these loads of a manifest, by the names that people read.

    Parts that it judged, megabytes that it read, megabytes of the files that came of them, its seconds, and the most
    megabytes of resident memory that were seen in it.
    """
    (files, path), parts, written = fsspec.url_to_fs(out), list[PartResult](), dict[str, int]()
    for load in loads:
        parts += parts_of(load)
        for folder in (f"{path}/{load['source']}", f"{path}/_rejects/{load['source']}"):
            written |= {name: told["size"] for name, told in files.find(folder, detail=True).items()}
    found = []
    for worker in sorted({part.worker for part in parts}):
        own = [part for part in parts if part.worker == worker]
        names = [name for one in own for name in (one.rows, *one.rejects)]
        found.append({
            "worker": worker, "parts": len(own),
            "MB read": sum(one.part.end.byte - one.part.start.byte for one in own) / 1e6,
            "MB written": sum(written.get(f"{path}/{name}", 0) for name in names) / 1e6,
            "seconds": sum(one.seconds for one in own), "peak MB": max(one.rss_bytes for one in own) / 1e6,
        })  # fmt: skip
    return found


@contextmanager
def whole_file(address: str) -> Iterator[Any]:
    """A file to be written that appears when it is whole."""
    files, path = fsspec.url_to_fs(address)
    draft = f"{path}.{uuid4().hex}.tmp"
    try:
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with files.open(draft, "wb") as file:
            yield file
        files.mv(draft, path)
    except OSError as error:
        raise StoreError(f"{address}: {error}; name a folder that can be written, with room in it") from error
