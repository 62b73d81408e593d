"""A client of a Dask scheduler: one that is there, one of this machine, or one that other processes share.

What ends a cluster is turned into words here, and sources are sent to workers: pickled, for the class of a source may
stand in a file of the user that no worker can import.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import cloudpickle
import dask
from distributed import Client, Future, LocalCluster
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker
from distributed.utils import silence_logging_cmgr

from foundation.errors import FoundationError
from foundation.schema import Source

_SHARED = "DASK_SCHEDULER_ADDRESS"


@contextmanager
def connect(address: str, *, workers: int | None = None) -> Iterator[Client]:
    """A client of the scheduler at *address*, or of a cluster of so many processes on this machine: `local`.

    No address is that of `shared`, which Dask's own setting is for, DASK_SCHEDULER_ADDRESS; without it, `local`. Raises
    FoundationError when nobody answers there.
    """
    address = address or dask.config.get("scheduler-address", None) or "local"
    with ExitStack() as opened:
        loop = logging.getLogger("asyncio")  # it would tell of the tasks that an interruption has left in it
        opened.callback(loop.setLevel, loop.level)
        loop.setLevel(logging.CRITICAL)
        if address == "local":
            own = LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
            )
            yield opened.enter_context(Client(opened.enter_context(own)))
            return
        opened.enter_context(silence_logging_cmgr(logging.CRITICAL))  # what ends is told by who waits for it
        try:
            client = opened.enter_context(Client(address, timeout="10s"))
        except (OSError, ValueError) as error:
            raise FoundationError(
                f"{address}: no Dask scheduler answers there; start one with `dask scheduler`, or name `local`"
            ) from error
        yield client


@contextmanager
def shared(address: str, *, workers: int | None = None) -> Iterator[Client]:
    """A client as `connect` gives it; processes that are started meanwhile find its cluster when they name none."""
    before = os.environ.get(_SHARED)
    with connect(address, workers=workers) as client:
        os.environ[_SHARED] = client.scheduler.address
        try:
            yield client
        finally:
            os.environ.pop(_SHARED)
            os.environ.update({_SHARED: before} if before else {})


@contextmanager
def translate_errors(client: Client) -> Iterator[None]:
    """Turn what ends a cluster into words."""
    try:
        yield
    except KilledWorker as error:
        raise FoundationError(
            f"{error.task}: all workers that began it were killed, perhaps for want of memory; give them more, or make "
            "--range-size smaller, then run the same command again, it goes on where it stopped"
        ) from error
    except (CancelledError, OSError) as error:
        is_lost = isinstance(error, CancelledError | CommClosedError)
        what = "the scheduler has ended, or can no longer be reached" if is_lost else error
        remedy = "see to it and run the same command again, it goes on where it stopped"
        raise FoundationError(f"{client.scheduler.address}: {what}; {remedy}") from error


def submit(client: Client, act: Callable[..., Any], source: Source, *given: Any, **more: Any) -> Future:
    """Have a worker call *act* with the source and what else is given."""
    return client.submit(_call, act, packed(source), given, more, pure=False)


def _call(act: Callable[..., Any], source: bytes, given: Sequence[Any], more: Mapping[str, Any]) -> Any:
    return act(unpacked(source), *given, **more)


@lru_cache(maxsize=64)
def packed(source: Source) -> bytes:
    """A source as it is sent to a worker."""
    return bytes(cloudpickle.dumps(source))


@lru_cache(maxsize=64)
def unpacked(sent: bytes) -> Source:
    """The same source each time: what was built for validating it is kept."""
    source: Source = pickle.loads(sent)  # noqa: S301  # of our own making
    return source
