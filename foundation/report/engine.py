"""One notebook, run by papermill in a kernel of its own; `papermill --engine foundation` runs any notebook this way.

This module is the engine that papermill is given, not a class in it: papermill asks for it while it is being imported,
which may be from here.
"""

import ast
import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from papermill.engines import Engine, papermill_engines
from papermill.log import logger
from traitlets.config import Config

from foundation.errors import ReportError
from foundation.report.client import Client

# Without it ipykernel warns at every start that what it says can be read on the network.
_ENCRYPTED = {"transport_encryption": "auto"}
INJECTED = "injected-parameters"  # the tag, and here the id, too, of the cell that papermill writes


class _Engine(Engine):  # type: ignore[misc]  # papermill has no types
    """Checks the parameters, names their cell the same each time, and leaves the cells to our client."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **options: Any) -> Any:
        given = nb.metadata.get("papermill", {}).get("parameters", {})
        if wrong := _misfits(nb, given) + [f"{name} is no parameter" for name in given if name not in _declared(nb)]:
            raise ReportError("the notebook cannot be run: " + "; ".join(wrong))
        for cell in nb.cells:
            cell.metadata.pop("foundation", None)  # of a run before
            if INJECTED in cell.metadata.get("tags", []):
                cell.id = INJECTED
        return super().execute_notebook(nb, kernel_name, **options)

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, start_timeout: int = 60, execution_timeout: float | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        options.pop("input_path", None)
        options = {"config": Config({"AsyncKernelManager": _ENCRYPTED, "KernelManager": _ENCRYPTED}), **options}
        Client(
            nb_man,
            timeout=execution_timeout,
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log=logger,
            **options,
        ).execute()


execute_notebook, nb_kernel_name, nb_language = _Engine.execute_notebook, _Engine.nb_kernel_name, _Engine.nb_language
papermill_engines.register("foundation", _Engine)  # where this package is run without being installed


def check_parameters(notebooks: Iterable[Path], given: Mapping[str, Any]) -> None:
    """Raise ReportError unless each of *given* is declared by one of the *notebooks*, and fits all that declare it."""
    read = {path: nbformat.read(path, as_version=4) for path in notebooks}  # type: ignore[no-untyped-call]
    wrong = [f"{path.name}: {told}" for path, notebook in read.items() for told in _misfits(notebook, given)]
    known = {name for notebook in read.values() for name in _declared(notebook)}
    wrong += [
        f"{name} is a parameter of none of {', '.join(p.name for p in read)}" for name in given if name not in known
    ]
    if wrong:
        raise ReportError("no notebook was run: " + "; ".join(wrong))


def _declared(notebook: Any) -> dict[str, type | None]:
    """The parameters of a notebook with the types of their defaults; None: not known, or any will do."""
    source = next((c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), "")
    found: dict[str, type | None] = {}
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            found[target.id] = None
            with suppress(ValueError):
                default = ast.literal_eval(node.value)
                found[target.id] = None if default is None else type(default)
    return found


def _misfits(notebook: Any, given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values given for declared parameters, one sentence each."""
    wrong = []
    for name, kind in _declared(notebook).items():
        if name not in given:
            continue
        value = given[name]
        if not isinstance(value, str | int | float | bool):  # papermill writes others into the code as they are
            wrong.append(f"{name}: {value!r} cannot be a parameter of a notebook; texts and numbers can")
        elif kind and type(value) is not kind and (kind, type(value)) != (float, int):
            wrong.append(f"{name} is declared as {kind.__name__}, got {value!r}")
    return wrong


def run_notebook(
    notebook: Path,
    copy: Path,
    given: Mapping[str, Any],
    *,
    cell_timeout_s: float = 3_600,
    notebook_timeout_s: float | None = None,
    kernels: type[AsyncKernelManager] = AsyncKernelManager,
) -> str | None:
    """Run *notebook* with those of the *given* parameters that it declares; the executed one is written to *copy*.

    Returns None when it ran to its end, else why not; the copy says of each cell what became of it (see `client`).
    *kernels* start the kernel. Raises ReportError, before that, when a parameter is not of its declared type.
    """
    declared = _declared(nbformat.read(notebook, as_version=4))  # type: ignore[no-untyped-call]
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    try:
        papermill.execute_notebook(
            _literal(notebook), _literal(copy), progress_bar=False, engine_name="foundation",
            parameters={name: value for name, value in given.items() if name in declared},
            execution_timeout=cell_timeout_s,
            notebook_timeout=notebook_timeout_s,
            kernel_manager_class=kernels,
            resources={"metadata": {"path": str(notebook.parent)}},  # papermill's own cwd is that of all its threads
            kernel_name="python3",  # that of this environment, whatever the notebook was last opened with
        )  # fmt: skip
    except ReportError:
        raise
    except Exception:  # whatever it was, the client has entered it
        if not copy.is_file():
            raise
    return outcome(copy)["failure"]


def close_loop() -> None:
    """End the loop that a notebook leaves in its thread, and what still waits in it for a cell that took too long."""
    loop = ensure_event_loop()
    waiting = asyncio.all_tasks(loop)
    for task in waiting:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
    loop.close()


def outcome(copy: Path) -> dict[str, str | None]:
    """What became of an executed notebook: `status`, and `failure` in words, None when it ran to its end."""
    told: dict[str, str | None] = nbformat.read(copy, as_version=4).metadata["foundation"]  # type: ignore[no-untyped-call]
    return told


def times_of(copy: Path) -> tuple[str, str]:
    """When an executed notebook began and ended, in UTC."""
    told = nbformat.read(copy, as_version=4).metadata.papermill  # type: ignore[no-untyped-call]
    return told.start_time, told.end_time


def _literal(path: Path) -> str:
    """A path as papermill takes it, which formats it as a template."""
    return str(path.absolute()).replace("{", "{{").replace("}", "}}")
