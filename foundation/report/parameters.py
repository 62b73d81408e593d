"""The parameters that a notebook declares in its `parameters` cell, and whether given values fit them."""

import ast
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat

from foundation.errors import ReportError


def read_notebook(path: Path) -> Any:
    """A notebook as nbformat has it."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def check_parameters(paths: Iterable[Path], values: Mapping[str, Any]) -> None:
    """Raise ReportError unless each of *values* is declared by one of the notebooks, and fits all that declare it."""
    notebooks = {path.name: read_notebook(path) for path in paths}
    wrong = [f"{name}: {why}" for name, notebook in notebooks.items() for why in misfits(notebook, values)]
    known = {name for notebook in notebooks.values() for name in declared(notebook)}
    wrong += [f"{name} is a parameter of none of {', '.join(notebooks)}" for name in values if name not in known]
    if wrong:
        raise ReportError("no notebook was run: " + "; ".join(wrong))


def declared(notebook: Any) -> dict[str, type | None]:
    """The parameters of a notebook with the types of their defaults; None: not known, or any will do."""
    source = next((c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), "")
    types: dict[str, type | None] = {}
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            types[target.id] = None
            with suppress(ValueError):
                default = ast.literal_eval(node.value)
                types[target.id] = None if default is None else type(default)
    return types


def misfits(notebook: Any, values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values of declared parameters, one sentence each."""
    wrong = []
    for name, kind in declared(notebook).items():
        if name not in values:
            continue
        value = values[name]
        if not isinstance(value, str | int | float | bool):  # papermill writes others into the code as they are
            wrong.append(f"{name}: {value!r} cannot be a parameter of a notebook; texts and numbers can")
        elif kind and type(value) is not kind and (kind, type(value)) != (float, int):
            wrong.append(f"{name} is declared as {kind.__name__}, got {value!r}")
    return wrong
