"""Run a report again from its manifest, elsewhere, and say what differs: what it stood on, and what came of it."""

import html
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import nbformat

from foundation.delivery.sources import SOURCES
from foundation.errors import ReportError
from foundation.report.html import without_measured
from foundation.report.provenance.crate import Manifest, read_manifest
from foundation.report.provenance.inputs import changes, digest_of
from foundation.report.run import make_report
from foundation.schema.source import load_sources

_SCRATCH = re.compile(
    re.escape(tempfile.gettempdir()) + r"/(?:foundation-\w+|ipykernel_\d+/\d+\.py)"
)  # as tests/nbval.cfg


class Difference(NamedTuple):
    """What is not as it was; `kind` is input, notebook, code, version, parameter, file, content, load, cell or page."""

    kind: str
    where: str
    then: str
    now: str


def verify(folder: Path, data: Path | None = None) -> list[Difference]:
    """Repeat the run in *folder*, with the files in *data* if they have moved; what differs, causes first.

    What is measured, times and memory, is not compared. Raises ReportError when the run cannot be repeated: its
    manifest or inputs are gone, or it began with a database that held something already.
    """
    then = read_manifest(folder)
    if then.before:
        raise ReportError(
            f"{folder}: the run began with a database that had seen {then.before:,} loads, which its manifest cannot "
            "give back; verify the first run into that database, or make a run into a new one"
        )
    told = [(*key.partition(" "), value) for key, value in then.basis.items()]
    parameters = {name: value for kind, _, name, value in told if kind == "parameter"}
    old_data, old_db, only = (parameters.pop(name) for name in ("data", "db", "only"))
    data = data or Path(old_data)
    if lost := [name for name in _inputs(then) if not (data / name).is_file()]:
        raise ReportError(f"{data}: {', '.join(lost)} is gone; name the folder of the delivery with --data")
    sources = load_sources(Path(parameters["sources"])) if parameters.get("sources") else SOURCES
    with tempfile.TemporaryDirectory(prefix="foundation-") as scratch:
        db = Path(scratch) / "again"
        make_report(
            data, db, Path(scratch), sources=sources, only=only.split(","), parameters=parameters, run_id=folder.name
        )
        now = read_manifest(Path(scratch) / folder.name)
        then_paths, now_paths = (old_data, old_db), (str(data.absolute()), str(db))
        return [*_causes(then, now), *_altered(then), *_values(then, now), *_results(then, now, then_paths, now_paths)]


def _inputs(then: Manifest) -> list[str]:
    declared = Path(str(then.basis.get("parameter sources", ""))).name
    names = (key.removeprefix("input ") for key in then.basis if key.startswith("input "))
    return [name for name in names if name != declared]


def _causes(then: Manifest, now: Manifest) -> Iterator[Difference]:
    for key, before, after in changes(then.basis, now.basis):
        kind, _, name = key.partition(" ")
        if key not in ("parameter data", "parameter db"):
            yield Difference(kind, name, before, after)


def _altered(then: Manifest) -> Iterator[Difference]:
    """Files of the run that are no longer what it wrote."""
    for name, digest in then.files.items():
        if (is_now := digest_of(then.folder / name)) != digest:
            yield Difference("file", name, digest[:12], is_now[:12] if is_now else "gone")


def _values(then: Manifest, now: Manifest) -> Iterator[Difference]:
    """Tables with another content, and what the loads counted."""
    for key, before, after in changes(then.results, now.results):
        kind, _, name = key.partition(" ")
        yield Difference(kind, name, before, after)


def _results(then: Manifest, now: Manifest, old: Sequence[str], new: Sequence[str]) -> Iterator[Difference]:
    """Cells, then pages, that are not as they were."""
    names = [name for name in {**then.files, **now.files} if name.endswith((".ipynb", ".html"))]
    for name in sorted(names, key=lambda name: (name.endswith(".html"), name)):
        paths = then.folder / name, now.folder / name
        if not all(path.is_file() for path in paths):
            yield Difference(
                "page" if name.endswith(".html") else "cell",
                name,
                *("–" if not p.is_file() else "there" for p in paths),
            )
        elif name.endswith(".html"):
            before, after = (_page(path, hidden) for path, hidden in zip(paths, (old, new), strict=True))
            if before != after:
                yield Difference("page", name, *_first_difference(before, after))
        else:
            yield from _cells(name, *(_code(path, hidden) for path, hidden in zip(paths, (old, new), strict=True)))


def _page(path: Path, hidden: Sequence[str]) -> str:
    return _neutral(without_measured(path.read_text("utf-8")), hidden)


def _code(path: Path, hidden: Sequence[str]) -> list[tuple[str, str, str]]:
    """Name, code and outputs of each code cell; outputs that the tests do not compare are not compared here either."""
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    found = []
    for number, cell in enumerate((c for c in cells if c.cell_type == "code"), 1):
        is_compared = "nbval-ignore-output" not in cell.metadata.get("tags", [])
        outputs = [{k: v for k, v in output.items() if k != "execution_count"} for output in cell.outputs]
        shown = json.dumps(outputs, sort_keys=True, ensure_ascii=False) if is_compared else ""
        found.append((f"{number} ({cell.id})", _neutral(cell.source, hidden), _neutral(shown, hidden)))
    return found


def _cells(name: str, then: list[tuple[str, str, str]], now: list[tuple[str, str, str]]) -> Iterator[Difference]:
    """Cells are held against each other by their code, so that a new one does not make all behind it differ."""
    stem = Path(name).stem
    matched = SequenceMatcher(None, [code for _, code, _ in then], [code for _, code, _ in now], autojunk=False)
    for what, a, b, c, d in matched.get_opcodes():
        if what == "equal":
            for (cell, _, before), (_, _, after) in zip(then[a:b], now[c:d], strict=True):
                if before != after:
                    yield Difference("cell", f"{stem} cell {cell}, output", *_first_difference(before, after))
        else:
            cell = (then[a:b] or now[c:d])[0][0]
            before, after = ("\n".join(code for _, code, _ in part) for part in (then[a:b], now[c:d]))
            yield Difference("cell", f"{stem} cell {cell}, code", *_first_difference(before, after))


def _neutral(text: str, paths: Sequence[str]) -> str:
    """The text without the paths that differ because the run is repeated elsewhere."""
    for path, name in sorted(zip(paths, ("DATA", "DB"), strict=True), key=lambda pair: -len(pair[0])):
        text = text.replace(path, name).replace(html.escape(path), name)
    return _SCRATCH.sub("SCRATCH", text)


def _first_difference(then: str, now: str, *, around: int = 30) -> tuple[str, str]:
    """The place where two texts part, with a little of what stands around it."""
    at = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))
    begin = max(at - around, 0)
    return then[begin : at + around] or "–", now[begin : at + around] or "–"
