"""The command line in real processes, each disturbed at a chosen system call (by strace) or moment.

A `Loader` is a process that has imported the package and forks for each run, which takes a third of the time; run as
a script, this file is that process.
"""

import ctypes
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, Self

import foundation
from foundation.cli import main

PACKAGE = Path(foundation.__file__).parent
ROOT = Path(__file__).parents[2]
SYNCS = ("fdatasync", "fsync", "msync")
WRITES = ("pwrite64", "write", "ftruncate", "fallocate", "openat", "unlink", "rename", "fchown", "fchmod", *SYNCS)
READS = ("pread64", "read")
HUNG_S = 120.0
PR_SET_PTRACER = 0x59616D61


class Fault(NamedTuple):
    """What disturbs a load; nothing, if nothing is named."""

    inject: tuple[str, ...] = ()  # as strace has it: "pwrite64:error=EIO:when=7"
    signal: int = signal.SIGKILL
    after_s: float = HUNG_S  # when the signal is sent
    largest: int | None = None  # no file may grow beyond so many bytes


UNDISTURBED = Fault()


class Outcome(NamedTuple):
    """How a load ended: its exit status, negative when a signal ended it, and what it said on standard error."""

    status: int
    told: str


class Loader:
    """Runs the command line of a *package* again and again, each time in a fresh process."""

    def __init__(self, package: Path = PACKAGE) -> None:
        self._serving = subprocess.Popen(
            [sys.executable, "-m", "tests.support.injection"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=package.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == str(package), "another package is loaded than the one to be tested"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.communicate()

    def run(self, command: Sequence[object], fault: Fault = UNDISTURBED, *, trace: Path | None = None) -> Outcome:
        """One run of the command line; its system calls go to the file *trace*."""
        order = {"command": list(map(str, command)), "trace": str(trace or "")} | fault._asdict()
        assert self._serving.stdin
        self._serving.stdin.write(json.dumps(order) + "\n")
        self._serving.stdin.flush()
        return Outcome(*self._answer())

    def _answer(self) -> Any:
        assert self._serving.stdout
        return json.loads(self._serving.stdout.readline() or '"the loading process has died"')


def serve() -> None:
    """Carry out one order a line from standard input, and answer with exit status and messages."""
    print(json.dumps(str(PACKAGE)), flush=True)
    for line in sys.stdin:
        print(json.dumps(_carry_out(json.loads(line))), flush=True)


def _carry_out(order: dict[str, Any]) -> tuple[int, str]:
    ours, theirs = socket.socketpair()
    told, telling = os.pipe()
    child = os.fork()
    if not child:
        ours.close()
        _load(order, theirs, telling)
    theirs.close()
    os.close(telling)
    ours.recv(1)
    with _watched(child, order):
        ours.close()
        _end(child, order)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(told, encoding="utf-8") as messages:
        return status, messages.read()


def _load(order: dict[str, Any], parent: socket.socket, telling: int) -> None:
    """Become the command line; never returns."""
    status = 70
    try:
        os.dup2(telling, 2)
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, -1, 0, 0, 0)  # who is not root must be allowed to look on
        parent.send(b".")
        parent.recv(1)  # until strace looks on
        if order["largest"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            status = main(order["command"])
    except BaseException:  # the parent wants to see any
        traceback.print_exc()
    finally:
        os._exit(status)


def _end(child: int, order: dict[str, Any]) -> None:
    """Wait for the process *child* to end, and see that it does."""
    ended = os.pidfd_open(child)
    for number, wait_s in ((order["signal"], order["after_s"]), (signal.SIGKILL, HUNG_S)):
        while not select.select([ended], [], [], wait_s)[0]:
            if number == signal.SIGKILL or _catches_signals(child):
                os.kill(child, number)
                break
            wait_s = 0.01
    os.close(ended)


def _catches_signals(child: int) -> bool:
    """Whether the command line has begun to; Python itself catches SIGINT, but in another way."""
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{child}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@contextmanager
def _watched(child: int, order: dict[str, Any]) -> Iterator[None]:
    """Have strace look at the process *child* if anything is to be traced or injected."""
    names = {fault.partition(":")[0] for fault in order["inject"]} or {*WRITES, *READS}
    if not order["inject"] and not order["trace"]:
        yield
        return
    command = ["strace", "-f", "-y", "-s64", f"-p{child}", f"-o{order['trace'] or os.devnull}"]
    command += [f"-etrace={','.join(sorted(names))}", *(f"-einject={fault}" for fault in order["inject"])]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr
        attached = strace.stderr.readline()
        assert "attached" in attached, attached
        yield
        strace.stderr.read()


if __name__ == "__main__":
    serve()
