"""What comes from a file is data everywhere; the sentences of DESIGN, section 10, that no other test is about."""

import ast
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import foundation
from foundation import Record
from foundation.errors import QueryError, SchemaError
from foundation.store.database import Store
from tests.support.deliveries import write_delivery
from tests.support.hostile import HOSTILE
from tests.support.inspection import query
from tests.support.loading import ingest

PACKAGE = Path(foundation.__file__).parent
PARSED = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}

# The verbs as they are run, with all that Python opens or unpickles told to standard error.
WATCHED = """
import json, sys
def told(event, arguments):
    if event in ("open", "pickle.find_class", "os.rename", "os.remove", "shutil.copyfile"):
        if not isinstance(arguments[0], int):
            print("\\0" + json.dumps([event, str(arguments[0]), str(arguments[1])]), file=sys.stderr)
from foundation.cli import main
import foundation.pipeline.corrections, foundation.query.lineage, foundation.query.rejects_export, pandas, rich.console
sys.addaudithook(told)
for arguments in json.loads(sys.argv[1]):
    main(arguments)
"""


@pytest.fixture
def opened(tmp_path, faulty_data) -> list[list[str]]:
    """What is opened in the folder of the test by each verb but `report`, the second ingest of which skips all."""
    db, out = str(tmp_path / "test.db"), str(tmp_path / "out")
    verbs = [
        ["ingest", str(faulty_data)], ["ingest", str(faulty_data)], ["stats"], ["page", "orders"], ["rejects"],
        ["explain", "orders", "1"], ["rejects", "--export", out], ["repair", out], ["replay"],
    ]  # fmt: skip
    arguments = json.dumps([[*verb, "--db", db] for verb in verbs])
    done = subprocess.run([sys.executable, "-c", WATCHED, arguments], capture_output=True, text=True, check=True)
    events = [json.loads(line[1:]) for line in done.stderr.splitlines() if line.startswith("\0")]
    assert not [event for event in events if event[0] == "pickle.find_class"]
    return [event for event in events if event[1].startswith(str(tmp_path))]


def test_the_database_file_is_never_opened_by_python(opened, tmp_path):
    assert opened, "nothing was seen"
    assert not [event for event in opened if re.search(r"test\.db(-wal|-shm|-journal)?$", event[1])]


def test_nothing_is_written_but_the_lock_and_the_export(opened, tmp_path):
    written = {Path(path).relative_to(tmp_path) for _, path, mode in opened if set(mode) & set("wax+")}

    assert {str(path) for path in written if path.parts[0] != "out"} <= {"test.db-lock", "test.db.lock"}
    assert {path.stem for path in written if path.parts[0] == "out"} <= set(
        query(tmp_path / "test.db", "SELECT DISTINCT source FROM _rejects")
    )


@pytest.mark.parametrize("module", PARSED)
def test_nothing_is_pickled_evaluated_or_run_by_a_shell(module):
    banned = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "read_pickle", "to_pickle", "eval", "exec",
              "executescript", "system", "popen", "shell", "multiprocessing",
              "multiprocessing.connection", "recv"}  # fmt: skip

    nodes = list(ast.walk(PARSED[module]))
    used = {alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    used |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    used |= {node.id for node in nodes if isinstance(node, ast.Name)}
    used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}

    # A second process of our own sends what it reads through a pipe that nobody else has: `recv` unpickles it. Workers
    # of a cluster are sent classes of sources, as Dask sends all it sends them; nothing that was stored is read so.
    allowed = {
        "pipeline/worker.py": {"subprocess", "multiprocessing.connection", "recv", "marshal"},
        "report/kernels.py": {"subprocess"},
        "lake/client.py": {"pickle"},
    }
    assert used & (banned | {"subprocess"}) <= allowed.get(module, set())


def link(path: Path, target: Path | str) -> None:
    path.symlink_to(target)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        Path.mkdir,
        lambda path: link(path, "/dev/zero"),
        lambda path: link(path, path.parent),
        lambda path: link(path, path),
        lambda path: (os.mkfifo(path.parent / "pipe"), link(path, path.parent / "pipe")),
    ],
    ids=["FIFO", "folder", "link to a device", "link to a folder", "link to itself", "link to a FIFO"],
)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path, db, make):
    data = write_delivery(tmp_path / "data", drivers=[{}])
    (data / "clients.csv").unlink()
    make(data / "clients.csv")

    run = ingest(data, db, only=["clients", "drivers"])

    assert [load.status for load in run.loads] == ["refused", "complete"]
    assert "clients.csv" in run.loads[0].warnings[0]


def test_a_link_to_a_regular_file_is_read(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=[{}])
    (data / "clients.csv").rename(tmp_path / "elsewhere.csv")
    link(data / "clients.csv", tmp_path / "elsewhere.csv")

    assert ingest(data, db, only=["clients"]).loads[0].inserted == 1


@pytest.mark.parametrize(
    "name", [*HOSTILE[:9], "_load", "rowid", "orders.city", "city; --", "city COLLATE NOCASE", "1"]
)
def test_a_name_that_is_no_column_is_told_and_never_becomes_sql(data, db, name):
    ingest(data, db)
    with foundation.open(db) as database:
        orders = database["orders"]
        for ask in (lambda: orders.where(**{name: 1}), lambda: orders.order_by(name), lambda: orders.select(name)):
            with pytest.raises(QueryError, match="orders has no column"):
                ask()


@pytest.mark.parametrize("name", [*HOSTILE[:9], "_loads", "sqlite_schema", "main.orders", 'orders" --', "Orders "])
def test_a_name_that_is_no_table_is_told_and_never_becomes_sql(data, db, name):
    ingest(data, db)
    with foundation.open(db) as database, pytest.raises(QueryError, match="no table"):
        database[name]


@pytest.mark.parametrize("name", ["x; DROP TABLE y", 'x"', "_loads", "sqlite_schema", "../x", "a b", "", "select "])
def test_a_declared_table_has_a_plain_name(name):
    with pytest.raises(SchemaError):
        type("X", (Record,), {"__annotations__": {"x_id": int}}, table=name, key="x_id")


def test_a_header_of_a_file_never_becomes_sql_or_a_column(data, db):
    hostile = "x INTEGER); DROP TABLE orders; --"
    path = data / "clients.csv"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(f'{line},"{hostile}"' for line in lines) + "\n", encoding="utf-8")

    run = ingest(data, db)

    assert hostile in run.loads[0].warnings[0]
    assert hostile not in query(db, "SELECT name FROM pragma_table_info('clients')")
    assert query(db, "SELECT count(*) FROM orders") == [6]


def test_a_writer_takes_the_lock_when_it_begins(db):
    with Store(db) as store, closing(sqlite3.connect(db, timeout=0, isolation_level=None)) as other:
        said: list[str] = []
        store.connection.set_trace_callback(said.append)
        with store.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        assert said == ["BEGIN IMMEDIATE", "COMMIT"]


@pytest.mark.parametrize("module", PARSED)
def test_no_other_transaction_is_ever_begun(module):
    texts = [node.value for node in ast.walk(PARSED[module]) if isinstance(node, ast.Constant)]

    begun = {text for text in texts if isinstance(text, str) and re.match(r"\s*BEGIN\b", text)}

    allowed = "BEGIN DEFERRED" if module == "query/engine.py" else "BEGIN IMMEDIATE"
    assert begun <= {allowed}, "a query cannot write at all"


def test_every_connection_is_made_in_one_place():
    calls = [
        module
        for module, tree in PARSED.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "connect"
    ]

    assert set(calls) == {"store/database.py", "lake/duckdb.py"}, "SQLite in the first, DuckDB in the second"
