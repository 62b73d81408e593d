"""What tests of a cluster share: a process to be started, one that kills, and folder and database that are the same."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

from tests.support.inspection import snapshot


def require_same(out: Path | str, db: Path) -> None:
    (content, refused), (wanted_content, wanted_refused) = snapshot(out), snapshot(db)
    assert content == wanted_content
    assert refused == wanted_refused


def start(*command: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", *map(str, command)], stderr=subprocess.PIPE, text=True)


class Killed(Thread):
    """Kills a process as soon as so many parts are there."""

    def __init__(self, out: Path, pid: int, parts: int = 3) -> None:
        super().__init__(daemon=True)
        self.out, self.pid, self.parts = out, pid, parts
        self.start()

    def run(self) -> None:
        while len(list(self.out.glob("*/*.parquet"))) < self.parts:
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
