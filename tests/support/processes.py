"""Processes of their own for a test, killed where the test says, and the browser."""

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest


def chromium() -> str:
    """Where Chromium is; without it a test is skipped, and in CI, which installs it, fails."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        told = "NO PAGE WAS OPENED IN A BROWSER: Chromium is not there; install it with: apt-get install chromium"
        (pytest.fail if os.environ.get("CHROMIUM") == "required" else pytest.skip)(told)
    return found


def in_child(act: Callable[[], object]) -> int:
    """Run *act* in a process of its own: its exit code, negative when a signal ended it."""
    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    child.join(60)
    assert child.exitcode is not None, "the child process does not end"
    return child.exitcode


def kill_at(function: str, call: int = 1) -> None:
    """From now on, kill this process when a function of this name is called for the nth time.

    With the name `statement` when SQLite is given its nth statement.
    """
    names = ("execute", "executemany") if function == "statement" else (function,)
    calls = count(1)

    def look(frame: FrameType, event: str, called: Any) -> None:
        name = called.__name__ if event == "c_call" else frame.f_code.co_name
        if event == ("c_call" if function == "statement" else "call") and name in names and next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(look)
