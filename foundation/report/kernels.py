"""Kernels that start in a third of the time: forks of a process that has imported what every notebook imports.

Each notebook has a fresh process all the same. Nothing runs in the process that is forked but its imports and the loop
below: no kernel, no database, no thread of ours. Only Linux forks such a process safely; elsewhere
kernels start as usual.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Lock
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

_PRELOADED = ("ipykernel.kernelapp", "matplotlib.pyplot", "memory_profiler", "pandas", "foundation")


@contextmanager
def forked_kernels() -> Iterator[type[AsyncKernelManager]]:
    """A class of kernel managers for papermill; the kernels end, at the latest, with the `with`."""
    if sys.platform != "linux":
        yield AsyncKernelManager
        return
    code = f"import sys; sys.path[:] = {sys.path!r}; from foundation.report.kernels import serve; serve()"
    with subprocess.Popen(  # noqa: S603  # our own code
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
        bufsize=1,
    ) as server:
        try:
            yield type("ForkedKernelManager", (_Manager,), {"server": server, "lock": Lock()})
        finally:
            server.kill()  # its kernels look every second whether it is there
            with suppress(OSError):  # an order that it did not live to read
                server.stdin.close()  # type: ignore[union-attr]  # it is a pipe


class _Manager(AsyncKernelManager):
    """Starts kernels by asking the server."""

    server: Any  # a Popen, with pipes of text
    lock: Lock  # notebooks run side by side

    async def _async_pre_start_kernel(self, **given: Any) -> Any:
        if self.server.poll() is not None:  # somebody has ended it: kernels start as usual
            return await super()._async_pre_start_kernel(**given)
        self.kernel_id = "forked"
        self.provisioner = _Provisioner(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)
        return await super()._async_pre_start_kernel(**given)

    def ask(self, order: dict[str, Any]) -> int | None:
        """What the server answers: the number of a new process, or how one has ended.

        Raises RuntimeError when the server is gone.
        """
        with self.lock, suppress(OSError):
            self.server.stdin.write(json.dumps(order) + "\n")
            if answer := self.server.stdout.readline():
                return json.loads(answer)  # type: ignore[no-any-return]
        raise RuntimeError("the process that starts them was ended; run the same command again")


class _Provisioner(LocalProvisioner):
    """Has a kernel forked instead of started."""

    async def launch_kernel(self, cmd: list[str], **given: Any) -> Any:
        manager: Any = self.parent
        pid = manager.ask({"arguments": cmd[3:], "cwd": given.get("cwd"), "env": given["env"]})
        self.process = _Kernel(pid, manager.ask)  # type: ignore[assignment]  # as much of a Popen as is used of one
        self.pid = self.pgid = pid
        return self.connection_info


class _Kernel:
    """A process that is no child of this one, with what is asked of a `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, ask: Callable[[dict[str, Any]], int | None]) -> None:
        self._pid, self._ask = pid, ask
        self._ended: int | None = None

    def poll(self) -> int | None:
        """None while it runs, else its exit status, less than 0 for a signal."""
        if self._ended is None:
            try:
                self._ended = self._ask({"ended": self._pid})
            except RuntimeError:  # the server is gone, and its kernels go, too
                self._ended = 1
        return self._ended

    wait = poll  # it is asked for when the process has ended

    def send_signal(self, number: int) -> None:
        """As `os.kill` does it; nothing when the process has ended."""
        if self.poll() is None:
            os.kill(self._pid, number)


def serve() -> None:
    """Be the process that is forked: an order, to fork or to tell how a fork ended, is a line, and so is its answer."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as in any kernel; read by the import
    for name in _PRELOADED:
        import_module(name)
    _draw()
    for line in sys.stdin:
        order = json.loads(line)
        if kernel := order.get("ended"):
            pid, status = os.waitpid(kernel, os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
            continue
        if not (pid := os.fork()):
            _be_a_kernel(order)
        print(pid, flush=True)


def _draw() -> None:
    """Draw a plot and a table: the first of each takes longest. Not by pyplot, which would begin to be used."""
    from matplotlib.figure import Figure

    from foundation.report.widgets import Table

    figure = Figure()
    figure.subplots().set(title="0")
    figure.savefig(io.StringIO(), format="svg")
    Table([{"column": 0}])._repr_mimebundle_()


def _be_a_kernel(order: dict[str, Any]) -> None:
    from ipykernel.kernelapp import launch_new_instance

    # The kernel ends when its parent does, the server, and not when the number in its environment does.
    quiet = "--IPKernelApp.log_level=CRITICAL"  # that it was interrupted when it had to end
    sys.argv = ["ipykernel_launcher", *order["arguments"], f"--IPKernelApp.parent_handle={os.getppid()}", quiet]
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    os.chdir(order["cwd"] or ".")
    os.environ.clear()
    os.environ.update(order["env"])
    try:
        launch_new_instance()
    finally:
        os._exit(0)
