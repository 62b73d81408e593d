"""Resident memory, sampled: of this process against a budget, and of another one as it runs; sizes in words."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Self

import psutil
from pydantic import ByteSize, Field, TypeAdapter, ValidationError

_SIZE = TypeAdapter(Annotated[ByteSize, Field(gt=0)])


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Freeze the objects that there are, so that the garbage collector does not go through them; new ones it does."""
    is_ours = not gc.get_freeze_count()
    if is_ours:
        gc.freeze()
    try:
        yield
    finally:
        if is_ours:
            gc.unfreeze()


class Memory:
    """Samples resident memory against a budget, both in bytes.

    `now` is the last sample, `peak` the largest: what rises and falls between two samples is not seen.
    """

    def __init__(self, *, limit: int) -> None:
        self._processes = [psutil.Process()]
        self.limit = limit
        self.now = self.peak = 0
        self.sample()

    def include(self, pid: int) -> None:
        """Sample another process, too."""
        if all(process.pid != pid for process in self._processes):
            with suppress(psutil.NoSuchProcess):
                self._processes.append(psutil.Process(pid))

    def sample(self) -> int:
        """Resident bytes now."""
        now = 0
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):  # whoever waits for it finds out that it has ended
                now += process.memory_info().rss
        self.now, self.peak = now, max(self.peak, now)
        return now

    def is_tight(self) -> bool:
        """Whether more than nine tenths of the budget were in use when it was sampled last."""
        return self.now > 0.9 * self.limit

    def is_spent(self) -> bool:
        """Whether the whole budget was."""
        return self.now > self.limit


class Watch:
    """Samples the resident memory of another process, in bytes, from a thread of this one; use it in a `with`.

    `peak` is the largest sample since `restart`: what rises and falls within the interval is not seen. When the process
    has ended, `now` stays the last sample.
    """

    def __init__(self, pid: int, *, interval_s: float = 0.02) -> None:
        self._process = psutil.Process(pid)
        self._interval_s = interval_s
        self._done = Event()
        self._thread = Thread(target=self._sample_on, daemon=True)
        self.now = self.peak = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def restart(self) -> int:
        """Forget the peak; resident bytes now."""
        self.peak = 0
        return self.sample()

    def sample(self) -> int:
        """Resident bytes now."""
        with suppress(psutil.Error):
            self.now = self._process.memory_info().rss or self.now  # one that has ended has none
        self.peak = max(self.peak, self.now)
        return self.now

    def _sample_on(self) -> None:
        while not self._done.wait(self._interval_s):
            self.sample()


def oom_kills() -> int:
    """How many processes Linux has killed for lack of memory since it started; 0 on other systems."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def parse_bytes(text: str) -> int:
    """Bytes written as `500MB`, `1.5 GiB` or `1000000`; kB, MB, GB are powers of 1,000.

    Raises ValueError when *text* is no positive size.
    """
    # ByteSize reads as far as it can and ignores the rest: `1,5GB` would be one byte.
    if re.fullmatch(r"\s*[0-9]*\.?[0-9]+\s*[A-Za-z]*\s*", text):
        with suppress(ValidationError):
            return _SIZE.validate_python(text)
    raise ValueError(f"{text!r} is no size; write it like 500MB or 1GiB")
