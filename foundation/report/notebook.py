"""Run one notebook by papermill, in a kernel of its own, and record truthfully what became of it.

papermill marks cells as completed that never ran: when the kernel dies, or a cell takes too long. Here each code cell
has `metadata.foundation`: `status` (completed, failed, timed-out, out-of-memory, killed, not-run), and if it was begun
`seconds` and `rss_before`, `rss_peak`, `rss_after`, the resident bytes of its kernel as seen from outside it. The
notebook's own `metadata.foundation` has `status`, which can be `not-started`, too, and `failure`, in words.

`papermill --engine foundation` runs any notebook this way. The engine that papermill is given is this module, not a
class in it: papermill asks for it while it is being imported, which may be from here.
"""

import logging
import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.log import logger
from traitlets import Float
from traitlets.config import Config

from foundation.errors import ReportError
from foundation.memory import Watch, oom_kills
from foundation.report.parameters import declared, misfits, read_notebook

# Without it ipykernel warns at every start that what it says can be read on the network.
_ENCRYPTED = {"transport_encryption": "auto"}
_INJECTED = "injected-parameters"  # the tag, and here the id, too, of the cell that papermill writes


class _Engine(Engine):  # type: ignore[misc]  # papermill has no types
    """Checks the parameters, gives their cell the same id each time, and leaves the cells to our client."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **options: Any) -> Any:
        values = nb.metadata.get("papermill", {}).get("parameters", {})
        unknown = [f"{name} is no parameter" for name in values if name not in declared(nb)]
        if wrong := misfits(nb, values) + unknown:
            raise ReportError("the notebook cannot be run: " + "; ".join(wrong))
        for cell in nb.cells:
            cell.metadata.pop("foundation", None)  # of a run before
            if _INJECTED in cell.metadata.get("tags", []):
                cell.id = _INJECTED
        return super().execute_notebook(nb, kernel_name, **options)

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, start_timeout: int = 60, execution_timeout: float | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        options.pop("input_path", None)
        options = {"config": Config({"AsyncKernelManager": _ENCRYPTED, "KernelManager": _ENCRYPTED}), **options}
        options |= {"timeout": execution_timeout, "startup_timeout": start_timeout, "kernel_name": kernel_name}
        _Client(nb_man, log=logger, **options).execute()


execute_notebook, nb_kernel_name, nb_language = _Engine.execute_notebook, _Engine.nb_kernel_name, _Engine.nb_language
papermill_engines.register("foundation", _Engine)  # where this package is run without being installed


class _Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client with truthful statuses; `notebook_timeout` is for all cells together, in seconds."""

    notebook_timeout = Float(None, allow_none=True)

    def execute(self, **options: Any) -> Any:
        """Run all cells; raises CellTimeoutError, DeadKernelError, or what kept the kernel from starting."""
        self._ends = time.monotonic() + (self.notebook_timeout or math.inf)
        self._oom_kills, self._cell = oom_kills(), None
        self.timeout_func = self._time_left
        self.nb.metadata["foundation"] = {"status": "completed", "failure": None}
        try:
            return super().execute(**options)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for cell in self.nb.cells:  # those that were not run papermill would call completed
                if cell.cell_type == "code" and "foundation" not in cell.metadata:
                    cell.metadata["foundation"] = {"status": "not-run"}
                    cell.metadata.papermill["status"] = "not-run"

    def papermill_execute_cells(self) -> None:
        """Run the cells one by one, until one fails."""
        with Watch(self.km.provisioner.pid) as watch:
            for index, cell in enumerate(self.nb.cells):
                self._cell = cell
                if not self._run(index, watch):
                    return
        self._cell = None

    def _run(self, index: int, watch: Watch) -> bool:
        """Whether the cell ran to its end."""
        cell = self.nb.cells[index]
        began, before, status = time.monotonic(), watch.restart(), "completed"
        self.nb_man.cell_start(cell, index)
        try:
            self.execute_cell(cell, index)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            status = self._fail(error, watch.now)
            self.nb_man.cell_exception(cell, cell_index=index)
            if not isinstance(error, CellExecutionError):
                raise
        finally:
            if cell.cell_type == "code":
                cell.metadata["foundation"] = {
                    "status": status, "seconds": time.monotonic() - began,
                    "rss_before": before, "rss_after": watch.sample(), "rss_peak": watch.peak,
                }  # fmt: skip
            self.nb_man.cell_complete(cell, cell_index=index)
        return status == "completed"

    def _time_left(self, cell: Any) -> float | None:
        """Seconds that the cell may take."""
        left = min(self.timeout or math.inf, max(self._ends - time.monotonic(), 0.01))
        return left if left < math.inf else None

    def _fail(self, error: BaseException, rss: int = 0) -> str:
        """Record what became of the notebook, unless that was done before, and return its status."""
        outcome = self.nb.metadata["foundation"]
        if not outcome["failure"]:
            outcome["status"], outcome["failure"] = self._diagnose(error, rss)
            if self._cell is not None:
                first = next(filter(str.strip, self._cell.source.splitlines()), "nothing")
                outcome["failure"] += f" (in the cell that begins with “{first}”)"
        return str(outcome["status"])

    def _diagnose(self, error: BaseException, rss: int) -> tuple[str, str]:
        """The status that an error gives the notebook, and the reason in words."""
        match error:
            case CellExecutionError(ename="MemoryError"):
                return "out-of-memory", "The notebook ran out of memory: MemoryError"
            case CellExecutionError():
                return "failed", f"{error.ename}: {error.evalue}"
            case CellTimeoutError() if time.monotonic() >= self._ends:
                return "timed-out", f"The notebook took longer than {self.notebook_timeout:g} s"
            case CellTimeoutError():
                return "timed-out", f"A cell took longer than {self.timeout:g} s"
            case DeadKernelError() if self.km is not None:
                return self._death(rss)
        return "not-started", f"The kernel did not start: {error or type(error).__name__}"

    def _death(self, rss: int) -> tuple[str, str]:
        """How the kernel ended: its parent knows the signal, Linux whether memory was the reason."""
        code = run_sync(self.km.provisioner.poll)()
        seen = f"; it held {rss / 1e6:,.0f} MB when it was last seen" if rss else ""
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return "out-of-memory", f"The kernel died: Linux killed a process for want of memory{seen}"
        if code is not None and code < 0:
            return "killed", f"The kernel died: it was ended by signal {-code}, {signal.Signals(-code).name}{seen}"
        return "killed", f"The kernel died{f' with status {code}' if code else ''}{seen}"


class Outcome(NamedTuple):
    """What became of an executed notebook, and when, in UTC; `failure` is None when it ran to its end."""

    status: str
    failure: str | None
    started: str
    ended: str


def run_notebook(
    notebook: Path, copy: Path, parameters: Mapping[str, Any], *, cell_timeout_s: float = 3_600,
    notebook_timeout_s: float | None = None, kernels: type[AsyncKernelManager] = AsyncKernelManager,
) -> str | None:  # fmt: skip
    """Run *notebook* with those of the *parameters* that it declares; the executed one is written to *copy*.

    Returns None when it ran to its end, else why not. *kernels* start the kernel. Raises ReportError, before that,
    when a parameter is not of its declared type.
    """
    known = declared(read_notebook(notebook))
    paths = [str(path.absolute()).replace("{", "{{").replace("}", "}}") for path in (notebook, copy)]  # as templates
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    try:
        papermill.execute_notebook(
            *paths, progress_bar=False, engine_name="foundation", kernel_manager_class=kernels,
            parameters={name: value for name, value in parameters.items() if name in known},
            execution_timeout=cell_timeout_s, notebook_timeout=notebook_timeout_s,
            resources={"metadata": {"path": str(notebook.parent)}},  # papermill's own cwd is that of all its threads
            kernel_name="python3",  # that of this environment, whatever the notebook was last opened with
        )  # fmt: skip
    except ReportError:
        raise
    except Exception:  # whatever it was, the client has recorded it
        if not copy.is_file():
            raise
    return read_outcome(copy).failure


def read_outcome(copy: Path) -> Outcome:
    """What an executed notebook says became of it."""
    metadata = read_notebook(copy).metadata
    return Outcome(**metadata.foundation, started=metadata.papermill.start_time, ended=metadata.papermill.end_time)
