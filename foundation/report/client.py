"""Runs the cells of a notebook, and says of each what became of it and what memory it took.

papermill alone calls cells complete that never ran: when the kernel dies or a cell takes too long. Here each code cell
has `metadata.foundation`: `status` (completed, failed, timed-out, out-of-memory, killed, not-run), and of one that was
begun `seconds` and `rss_before`, `rss_peak`, `rss_after`, the resident bytes of its kernel as seen from outside it. The
notebook's own `metadata.foundation` has `status`, which can be `not-started`, too, and `failure`, in words.
"""

import signal
import time
from typing import Any

from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from traitlets import Float

from foundation.memory import Watch, oom_kills


class Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """papermill's client with truthful statuses; `notebook_timeout` is for all cells together, in seconds."""

    notebook_timeout = Float(None, allow_none=True)

    def execute(self, **options: Any) -> Any:
        """Run all cells; raises CellTimeoutError, DeadKernelError, or what kept the kernel from starting."""
        self._began, self._oom_kills, self._cell = time.monotonic(), oom_kills(), None
        self.timeout_func = self._time_left
        self.nb.metadata["foundation"] = {"status": "completed", "failure": None}
        try:
            return super().execute(**options)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._mark_rest()

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
        spent = time.monotonic() - self._began
        limits = [self.timeout, self.notebook_timeout and max(self.notebook_timeout - spent, 0.01)]
        return min((limit for limit in limits if limit), default=None)

    def _fail(self, error: BaseException, rss: int = 0) -> str:
        """Enter what became of the notebook, if that was not done before, and give its status."""
        told = self.nb.metadata["foundation"]
        if told["failure"]:
            return str(told["status"])
        if isinstance(error, CellExecutionError):
            status, why = "failed", f"{error.ename}: {error.evalue}"
            if error.ename == "MemoryError":
                status, why = "out-of-memory", "The notebook ran out of memory: MemoryError"
        elif isinstance(error, CellTimeoutError):
            status, why = "timed-out", self._too_long()
        elif isinstance(error, DeadKernelError) and self.km is not None:
            status, why = self._death(rss)
        else:
            status, why = "not-started", f"The kernel did not start: {error or type(error).__name__}"
        told.update(status=status, failure=why + _place(self._cell))
        return status

    def _too_long(self) -> str:
        if self.notebook_timeout and time.monotonic() - self._began >= self.notebook_timeout:
            return f"The notebook took longer than {self.notebook_timeout:g} s"
        return f"A cell took longer than {self.timeout:g} s"

    def _death(self, rss: int) -> tuple[str, str]:
        """How the kernel ended: its parent knows the signal, Linux whether memory was the reason."""
        code = run_sync(self.km.provisioner.poll)()
        seen = f"; it held {rss / 1e6:,.0f} MB when it was last seen" if rss else ""
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return "out-of-memory", f"The kernel died: Linux killed a process for want of memory{seen}"
        if code is not None and code < 0:
            return "killed", f"The kernel died: it was ended by signal {-code}, {signal.Signals(-code).name}{seen}"
        return "killed", f"The kernel died{f' with status {code}' if code else ''}{seen}"

    def _mark_rest(self) -> None:
        """Cells that nobody ran say so, before papermill calls them completed."""
        for cell in self.nb.cells:
            if cell.cell_type == "code" and "foundation" not in cell.metadata:
                cell.metadata["foundation"] = {"status": "not-run"}
                cell.metadata.papermill["status"] = "not-run"


def _place(cell: Any) -> str:
    """Where, in words."""
    if cell is None:
        return ""
    first = next((line for line in cell.source.splitlines() if line.strip()), "nothing")
    return f" (in the cell that begins with “{first}”)"
