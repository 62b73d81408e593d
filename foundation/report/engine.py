"""One notebook, run by papermill in a kernel of its own."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config

from foundation.errors import ReportError

# Without it ipykernel warns at every start that what it says can be read on the network.
_ENCRYPTED = {"transport_encryption": "auto"}


def run_notebook(
    notebook: Path,
    copy: Path,
    given: Mapping[str, Any],
    *,
    cell_timeout_s: int = 3_600,
    kernels: type[AsyncKernelManager] = AsyncKernelManager,
) -> str | None:
    """Run *notebook* with those of the *given* parameters that it declares; the executed one is written to *copy*.

    Returns None when it ran to its end, else why not. Only texts, numbers and booleans may be given: papermill
    writes other values into the code as they are. *kernels* start the kernel.
    """
    declared = papermill.inspect_notebook(_literal(notebook))
    parameters = {name: value for name, value in given.items() if name in declared}
    for name, value in parameters.items():
        if not isinstance(value, str | int | float | bool):
            raise ReportError(f"{name}: {value!r} cannot be a parameter of a notebook; texts and numbers can")
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            _literal(notebook), _literal(copy), parameters=parameters, progress_bar=False,
            execution_timeout=cell_timeout_s,
            kernel_manager_class=kernels,
            resources={"metadata": {"path": str(notebook.parent)}},  # papermill's own cwd is that of all its threads
            kernel_name="python3",  # that of this environment, whatever the notebook was last opened with
            config=Config({"AsyncKernelManager": _ENCRYPTED, "KernelManager": _ENCRYPTED}),
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        first = error.source.strip().splitlines()[0] if error.source.strip() else "nothing"
        return f"{error.ename}: {error.evalue} (in the cell that begins with “{first}”)"
    except DeadKernelError:
        return "The kernel died; it may have run out of memory. What it had shown until then stands below."
    except CellTimeoutError as error:
        return f"A cell took longer than {cell_timeout_s} s: {str(error).splitlines()[0]}"
    return None


def _literal(path: Path) -> str:
    """A path as papermill takes it, which formats it as a template."""
    return str(path.absolute()).replace("{", "{{").replace("}", "}}")
