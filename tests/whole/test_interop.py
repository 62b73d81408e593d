"""What is exported opens in the real packages; `make interop` installs them."""

import json
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from foundation.cli import main
from foundation.delivery.sample import write_sample
from tests.support.inspection import query
from tests.support.loading import ingest

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def db(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("interop")
    write_sample(folder, orders=2_000, faults=0.02, seed=3)
    ingest(folder, folder / "all.db")
    return folder / "all.db"


def exported(db: Path, form: str) -> Path:
    out = db.parent / form
    if not out.exists():
        assert main(["export", str(db), str(out), "--format", form]) == 0
    return out


def run(*words: object) -> Any:
    done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def errors(package: Path) -> list[tuple[str, str]]:
    report = run("frictionless", "validate", package, "--json")
    assert len(report["tasks"]) == 8
    return [(task["name"], error["type"]) for task in report["tasks"] for error in task["errors"]]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_frictionless_finds_the_data_package_valid(db, form):
    assert errors(exported(db, form) / "datapackage.json") == []


def test_frictionless_finds_what_breaks_the_declaration(db, tmp_path):
    for path in exported(db, "csv").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    package = json.loads((tmp_path / "datapackage.json").read_text("utf-8"))
    for resource in package["resources"]:
        del resource["hash"], resource["bytes"]
    (tmp_path / "datapackage.json").write_text(json.dumps(package))
    with (tmp_path / "feedback.csv").open("a") as file:
        file.write("1,999999,Asha,Fine,Angry,7,2025-01-01 08:00:00\r\n")

    found = [kind for name, kind in errors(tmp_path / "datapackage.json") if name == "feedback"]

    assert sorted(found) == ["constraint-error", "constraint-error", "foreign-key", "primary-key"]


def test_duckdb_reads_parquet_with_the_right_types(db):
    import duckdb

    folder = exported(db, "parquet")
    types = {
        name: kind for name, kind, *_ in duckdb.sql(f"DESCRIBE SELECT * FROM '{folder}/orders.parquet'").fetchall()
    }
    assert (types["order_id"], types["pincode"], types["order_date"], types["amount"]) == (
        "BIGINT", "VARCHAR", "TIMESTAMP", "DOUBLE",
    )  # fmt: skip
    rows = duckdb.sql(f"SELECT * REPLACE (CAST(order_date AS VARCHAR) AS order_date) FROM '{folder}/orders.parquet'")
    columns = ", ".join(rows.columns)
    assert [row[:10] for row in rows.fetchall()] == [row[:10] for row in query(db, f"SELECT {columns} FROM orders")]


def test_pandas_reads_parquet_with_the_right_types(db):
    import pandas as pd

    frame = pd.read_parquet(exported(db, "parquet") / "orders.parquet")

    assert frame["order_id"].tolist() == query(db, "SELECT order_id FROM orders ORDER BY 1")
    assert str(frame["actual_delivery_date"].dtype).startswith("datetime64")
    assert frame["actual_delivery_date"].isna().sum() == query(
        db, "SELECT count(*) FROM orders WHERE actual_delivery_date IS NULL"
    )[0]  # fmt: skip
    assert frame["amount"].sum() == pytest.approx(query(db, "SELECT sum(amount) FROM orders")[0])


def test_dates_and_an_empty_table_are_written_to_parquet(tmp_path):
    from pyarrow import parquet

    (tmp_path / "my_sources.py").write_text(
        "from datetime import date, datetime\n"
        "from foundation import Record\n\n\n"
        'class Day(Record, table="days", key="day"):\n    day: date\n    at: datetime | None = None\n\n\n'
        'class Empty(Record, table="nothing", key="id"):\n    id: int\n'
    )
    (tmp_path / "days.csv").write_text("day,at\n0001-01-01,\n9999-12-31,9999-12-31 23:59:59\n")
    (tmp_path / "nothing.csv").write_text("id\n")
    own = ["--sources", str(tmp_path / "my_sources.py")]
    assert main(["ingest", str(tmp_path), "--db", str(tmp_path / "d.db"), *own]) == 0

    assert main(["export", str(tmp_path / "d.db"), str(tmp_path / "out"), "--format", "parquet", *own]) == 0

    assert parquet.read_table(tmp_path / "out/days.parquet").to_pylist() == [
        {"day": date(1, 1, 1), "at": None},
        {"day": date(9999, 12, 31), "at": datetime(9999, 12, 31, 23, 59, 59)},
    ]
    assert parquet.read_table(tmp_path / "out/nothing.parquet").num_rows == 0
    assert not parquet.read_schema(tmp_path / "out/days.parquet").field("day").nullable


def test_datasette_serves_the_database(db):
    page = run("datasette", db, "--get", "/all/orders.json?_size=3&_shape=objects&_sort=order_id")

    assert [row["order_id"] for row in page["rows"]] == query(db, "SELECT order_id FROM orders ORDER BY 1 LIMIT 3")
    assert page["primary_keys"] == ["order_id"]
    facets = run("datasette", db, "--get", "/all/fleet_logs.json?_size=1&_labels=on&_shape=objects")
    assert set(facets["rows"][0]["driver_id"]) == {"value", "label"}  # it follows the foreign key
