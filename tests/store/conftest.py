from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.store.database import Store
from foundation.store.ledger import begin_run
from tests.support.entries import CLIENTS


@pytest.fixture
def store(db: Path) -> Iterator[Store]:
    """A database with one source, inside a transaction of a run."""
    with Store(db) as store:
        store.prepare(CLIENTS)
        begin_run(store, "run", {})
        with store.transaction():
            yield store
