"""A cluster on this machine, begun once for all tests that a process runs, and what is loaded on it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import loading

SAMPLE = Path(__file__).parents[2] / "data/sample"


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    from foundation.lake.load import connect

    with connect("local", workers=2) as client:
        yield client


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A delivery, and what is to become of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data, db = shutil.copytree(SAMPLE, folder / "data"), folder / "test.db"
    loading.ingest(data, db)
    return data, db
