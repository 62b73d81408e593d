"""What starts kernels; and the report that is made once in a test run, by whichever process needs it first."""

import fcntl
from pathlib import Path

import pytest

from foundation.cli import main
from foundation.delivery.sample import write_sample


@pytest.fixture(scope="session")
def made(tmp_path_factory, worker_id) -> Path:
    """The folder of one run over a small delivery with faults, one file of which is refused. Nobody changes it."""
    root = tmp_path_factory.getbasetemp()
    root = root if worker_id == "master" else root.parent  # which all processes share (pytest-xdist, "How-tos")
    home = root / "report {0}"  # papermill would format such a path
    with (root / "report.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            write_sample(home / "data", orders=60, faults=0.1, seed=3)
            (home / "data" / "drivers.csv").write_bytes(b"driver_id\n1\n")
            assert main(["report", str(home / "data"), "--db", str(home / "x.db"), "--out", str(home / "out")]) == 1
    (index,) = (home / "out").glob("*/index.html")
    return index.parent


@pytest.fixture(scope="module", params=["started", "forked"])
def kernels(request):
    """What starts kernels: each by itself, or as the forks of one process."""
    from jupyter_client.manager import AsyncKernelManager

    from foundation.report.kernels import forked_kernels

    if request.param == "started":
        yield AsyncKernelManager
    else:
        with forked_kernels() as manager:
            yield manager
