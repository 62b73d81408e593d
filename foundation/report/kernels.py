"""Kernels that start in a third of the time: forks of a server process that has imported what every notebook imports.

Each notebook has a fresh process all the same. Nothing runs in the server but its imports and the loop below: no
kernel, no database, no thread of ours. Only Linux forks such a process safely; elsewhere, and when the server has
ended, kernels start as usual.

A request to the server is a line of JSON, and so is its answer: `{"fork": …}` is answered by the number of a new
process, `{"poll": number}` by how that process ended, null while it runs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Lock
from typing import Any

from jupyter_client.manager import AsyncKernelManager

_PRELOADED = ("ipykernel.kernelapp", "matplotlib.pyplot", "memory_profiler", "pandas", "foundation.pipeline.load")


@contextmanager
def forked_kernels() -> Iterator[type[AsyncKernelManager]]:
    """A class of kernel managers for papermill; the kernels end, at the latest, with the `with`."""
    if sys.platform != "linux":
        yield AsyncKernelManager
        return
    server = _Server()
    try:
        yield type("ForkedKernelManager", (_Manager,), {"server": server})
    finally:  # its kernels look every second whether it is there
        with suppress(OSError), server.process:  # a request that it did not live to read
            server.process.kill()


class _Server:
    """The process whose forks are kernels, as seen from the process that makes the report."""

    def __init__(self) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from foundation.report.kernels import serve; serve()"
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process: Any = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes)  # noqa: S603  # ours
        self._lock = Lock()  # notebooks run side by side

    def ask(self, request: dict[str, Any]) -> Any:
        """What the server answers; raises OSError when it has ended."""
        with self._lock:
            self.process.stdin.write(json.dumps(request) + "\n")
            if answer := self.process.stdout.readline():
                return json.loads(answer)
        raise BrokenPipeError("the process that forks kernels has ended")


class _Manager(AsyncKernelManager):
    """Starts a kernel by asking the server."""

    server: _Server

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        request = {"arguments": kernel_cmd[3:], "cwd": options.get("cwd") or ".", "env": options["env"]}
        try:
            pid = self.server.ask({"fork": request})
        except OSError:  # it starts as usual
            return await super()._async_launch_kernel(kernel_cmd, **options)
        provisioner: Any = self.provisioner
        provisioner.process, provisioner.pid, provisioner.pgid = _Kernel(pid, self.server), pid, pid


class _Kernel:
    """A process that is no child of this one, with as much of a `Popen` as a provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, server: _Server) -> None:
        self._pid, self._server = pid, server
        self._status: int | None = None

    def poll(self) -> int | None:
        """None while it runs, else its exit status, less than 0 for a signal."""
        if self._status is None:
            try:
                self._status = self._server.ask({"poll": self._pid})
            except OSError:  # its kernels end with the server
                self._status = 1
        return self._status

    wait = poll  # it is called when the process has ended

    def send_signal(self, number: int) -> None:
        """As `os.kill` does it; nothing when the process has ended."""
        if self.poll() is None:
            os.kill(self._pid, number)


def serve() -> None:
    """Be the server."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as in any kernel; read by the import
    for name in _PRELOADED:
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif not (answer := os.fork()):
            _be_a_kernel(**request["fork"])
        print(json.dumps(answer), flush=True)


def _be_a_kernel(arguments: list[str], cwd: str, env: dict[str, str]) -> None:
    """Run a kernel in this fork of the server, and end with it."""
    from ipykernel.kernelapp import launch_new_instance

    # The kernel ends when its parent does, the server, and not when the number in its environment does.
    quiet = "--IPKernelApp.log_level=CRITICAL"  # that it was interrupted when it had to end
    sys.argv = ["ipykernel_launcher", *arguments, f"--IPKernelApp.parent_handle={os.getppid()}", quiet]
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    try:
        launch_new_instance()
    finally:
        os._exit(0)
