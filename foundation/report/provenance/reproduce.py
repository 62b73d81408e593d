"""Repeat a run from its manifest, elsewhere, and name what differs: what it used, and what came of it."""

import html
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from foundation.errors import ReportError
from foundation.report.html import without_measured
from foundation.report.parameters import read_notebook
from foundation.report.provenance.crate import Manifest, read_manifest
from foundation.report.provenance.inputs import Difference, differences, digest_of
from foundation.report.run import make_report
from foundation.report.target import ParquetTarget, SQLiteTarget
from foundation.schema import Source, load_sources

# As tests/nbval.cfg.
_SCRATCH = re.compile(re.escape(tempfile.gettempdir()) + r"/(?:foundation-\w+|ipykernel_\d+/\d+\.py)")

_MOVED = (("parameter", "data"), ("parameter", "db"))  # differ because the run is repeated elsewhere


def verify(folder: Path, data: Path | None = None, *, sources: Sequence[Source]) -> list[Difference]:
    """Repeat the run in *folder*, with the files in *data* if they have moved; what differs, causes first.

    *sources* are those of a run that names no file of its own. What is measured, times and memory, is not compared.
    Raises ReportError when the run cannot be repeated: its manifest or inputs are gone, or it began with a database
    that held something already.
    """
    then = read_manifest(folder)
    if then.loads_before:
        raise ReportError(
            f"{folder}: the run began with a database that had seen {then.loads_before:,} loads, which its manifest "
            "cannot give back; verify the first run into that database, or make a run into a new one"
        )
    parameters = {name: value for (kind, name), value in then.inputs.items() if kind == "parameter"}
    old_data, old_db, only = (parameters.pop(name) for name in ("data", "db", "only"))
    own = Path(parameters["sources"]) if parameters.get("sources") else None
    data = data or Path(old_data)
    names = [name for kind, name in then.inputs if kind == "input" and not (own and name == own.name)]
    if lost := [name for name in names if not (data / name).is_file()]:
        raise ReportError(f"{data}: {', '.join(lost)} is gone; name the folder of the delivery with --data")
    with tempfile.TemporaryDirectory(prefix="foundation-") as scratch:
        target = (ParquetTarget if parameters.get("range_size") else SQLiteTarget)(Path(scratch) / "again")
        make_report(
            data, target, Path(scratch), sources=load_sources(own) if own else sources, only=only.split(","),
            parameters=parameters, run_id=folder.name,
        )  # fmt: skip
        now = read_manifest(Path(scratch) / folder.name)
        files = {("file", name): digest for name, digest in then.files.items()}
        return [
            *(cause for cause in differences(then.inputs, now.inputs) if cause[:2] not in _MOVED),
            *differences(files, {("file", name): digest_of(folder / name) or "gone" for name in then.files}),
            *differences(then.results, now.results),
            *_outputs(_Run(then, old_data, old_db), _Run(now, str(data.absolute()), target.address)),
        ]


class _Run(NamedTuple):
    """One of the two runs, with the paths that are in its outputs."""

    manifest: Manifest
    data: str
    db: str

    def page(self, name: str) -> str:
        return self._neutral(without_measured((self.manifest.folder / name).read_text("utf-8")))

    def cells(self, name: str) -> list[tuple[str, str, str]]:
        """Name, code and outputs of each code cell; outputs that nbval ignores are ignored."""
        cells = []
        code = [cell for cell in read_notebook(self.manifest.folder / name).cells if cell.cell_type == "code"]
        for number, cell in enumerate(code, 1):
            is_compared = "nbval-ignore-output" not in cell.metadata.get("tags", [])
            outputs = [{k: v for k, v in output.items() if k != "execution_count"} for output in cell.outputs]
            shown = json.dumps(outputs, sort_keys=True, ensure_ascii=False) if is_compared else ""
            cells.append((f"{number} ({cell.id})", self._neutral(cell.source), self._neutral(shown)))
        return cells

    def _neutral(self, text: str) -> str:
        """The text without the paths that differ because the run is repeated elsewhere."""
        for path, name in sorted([(self.data, "DATA"), (self.db, "DB")], key=lambda pair: -len(pair[0])):
            text = text.replace(path, name).replace(html.escape(path), name)
        return _SCRATCH.sub("SCRATCH", text)


def _outputs(then: _Run, now: _Run) -> Iterator[Difference]:
    """Cells, then pages, that are not as they were."""
    names = {name for run in (then, now) for name in run.manifest.files if name.endswith((".ipynb", ".html"))}
    for name in sorted(names, key=lambda name: (name.endswith(".html"), name)):
        kind = "page" if name.endswith(".html") else "cell"
        is_there = [(run.manifest.folder / name).is_file() for run in (then, now)]
        if not all(is_there):
            yield Difference(kind, name, *("there" if there else "–" for there in is_there))
        elif kind == "cell":
            yield from _cells(Path(name).stem, then.cells(name), now.cells(name))
        elif (before := then.page(name)) != (after := now.page(name)):
            yield Difference("page", name, *_first_difference(before, after))


def _cells(stem: str, then: list[tuple[str, str, str]], now: list[tuple[str, str, str]]) -> Iterator[Difference]:
    """Cells are matched by their code, so that a new one does not make all that follow differ."""
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


def _first_difference(then: str, now: str, *, around: int = 30) -> tuple[str, str]:
    """Where two texts part, with a little of what is around it."""
    at = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))
    begin = max(at - around, 0)
    return then[begin : at + around] or "–", now[begin : at + around] or "–"
