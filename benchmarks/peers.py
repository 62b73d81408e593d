"""What one would use instead: each function loads `clients.csv` and `orders.csv` into the same tables with indexes.

`python peers.py NAME FOLDER DATABASE TABLES INDEXES` runs one of them in a process of its own; TABLES and INDEXES are
files of SQL. None of them keeps what it refuses or goes on where it was cut off; the model and frictionless judge.
"""

import csv
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

NAMES = ("clients", "orders")


def connected(db: Path, *scripts: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(db)
    connection.execute("PRAGMA foreign_keys = ON")
    for script in scripts:
        connection.executescript(script.read_text())
    return connection


def shell(db: Path, *commands: str) -> None:
    subprocess.run(["sqlite3", db, *commands], check=True)  # noqa: S607


def imported(data: Path) -> list[str]:
    return [".mode csv", *(f".import --skip 1 {data / name}.csv {name}" for name in NAMES)]


def import_indexed(data: Path, db: Path, tables: Path, indexes: Path) -> None:
    shell(db, f".read {tables}", f".read {indexes}", *imported(data))


def import_then_index(data: Path, db: Path, tables: Path, indexes: Path) -> None:
    shell(db, f".read {tables}", *imported(data), f".read {indexes}")


def sqlite_utils(data: Path, db: Path, tables: Path, indexes: Path) -> None:
    from sqlite_utils import Database

    database = Database(connected(db, tables))
    for name in NAMES:
        with (data / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            database[name].insert_all({k: v or None for k, v in row.items()} for row in csv.DictReader(file))
    database.conn.executescript(indexes.read_text())


def sqlite_utils_insert(data: Path, db: Path, tables: Path, indexes: Path) -> None:  # its command, as one types it
    connected(db, tables).close()
    for name in NAMES:
        command = [Path(sys.executable).with_name("sqlite-utils"), "insert", db, name, data / f"{name}.csv"]
        subprocess.run([*command, "--csv", "--empty-null"], check=True)
    connected(db, indexes).close()


def csvs_to_sqlite(data: Path, db: Path, tables: Path, indexes: Path) -> None:  # makes its own tables, without types
    files = [str(data / f"{name}.csv") for name in NAMES]
    subprocess.run([Path(sys.executable).with_name("csvs-to-sqlite"), *files, db], check=True)
    connected(db, indexes).close()


def pandas_to_sql(data: Path, db: Path, tables: Path, indexes: Path) -> None:
    import pandas as pd

    connection = connected(db, tables)
    for name in NAMES:
        for frame in pd.read_csv(data / f"{name}.csv", dtype="string", chunksize=10_000):
            frame.to_sql(name, connection, if_exists="append", index=False)
    connection.executescript(indexes.read_text())


def dlt(data: Path, db: Path, tables: Path, indexes: Path) -> None:  # makes its own tables, with columns of its own
    import dlt as tool

    def rows(name: str) -> Iterator[dict[str, str]]:
        with (data / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)

    destination = tool.destinations.sqlalchemy(f"sqlite:///{db}")
    pipeline = tool.pipeline(
        "bench", destination=destination, dataset_name="main", pipelines_dir=str(db.parent / "dlt")
    )
    pipeline.run([tool.resource(rows(name), name=name, primary_key=f"{name[:-1]}_id") for name in NAMES])
    connected(db, indexes).close()


def frictionless(data: Path, db: Path, tables: Path, indexes: Path) -> None:  # validates, then writes its own tables
    from frictionless import Resource, formats, system

    for name in NAMES:
        with system.use_context(trusted=True):  # it reads no absolute paths otherwise
            resource = Resource(path=str(data / f"{name}.csv"), name=name)
            if not resource.validate().valid:
                raise SystemExit(f"{name} is not valid")
            resource.write(f"sqlite:///{db}", control=formats.SqlControl(table=name))
    connected(db, indexes).close()


def pydantic_indexed(data: Path, db: Path, tables: Path, indexes: Path) -> None:
    insert_models(connected(db, tables, indexes), data)


def pydantic_then_index(data: Path, db: Path, tables: Path, indexes: Path) -> None:
    connection = connected(db, tables)
    insert_models(connection, data)
    connection.executescript(indexes.read_text())


def insert_models(connection: sqlite3.Connection, data: Path) -> None:
    """A model for each row, `model_dump`, `executemany` by thousands: what most people write."""
    from models import MODELS

    for name, model in MODELS.items():
        marks = ", ".join("?" * len(model.model_fields))
        with (data / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            while chunk := [
                model.model_validate({k: v or None for k, v in row.items()}) for row in islice(rows, 1_000)
            ]:
                values = [tuple(row.model_dump(mode="json").values()) for row in chunk]
                connection.executemany(f"INSERT INTO {name} VALUES ({marks})", values)
                connection.commit()


def naive(data: Path, db: Path, tables: Path, indexes: Path) -> None:
    """`csv` and `executemany` by thousands, nothing judged: the least that a loader in Python can do."""
    connection = connected(db, tables)
    for name in NAMES:
        with (data / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            marks = ", ".join("?" * len(next(rows)))
            while chunk := [[field or None for field in row] for row in islice(rows, 1_000)]:
                connection.executemany(f"INSERT INTO {name} VALUES ({marks})", chunk)
                connection.commit()
    connection.executescript(indexes.read_text())


PEERS: dict[str, Callable[[Path, Path, Path, Path], None]] = {
    "sqlite3 .import, indexes there": import_indexed,
    "sqlite3 .import, then indexes": import_then_index,
    "csv and executemany, unjudged": naive,
    "csvs-to-sqlite": csvs_to_sqlite,
    "pandas to_sql": pandas_to_sql,
    "sqlite-utils, its library": sqlite_utils,
    "sqlite-utils insert, its command": sqlite_utils_insert,
    "a pydantic model per row, then indexes": pydantic_then_index,
    "a pydantic model per row, indexes there": pydantic_indexed,
    "dlt": dlt,
    "frictionless": frictionless,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](*map(Path, sys.argv[2:]))
