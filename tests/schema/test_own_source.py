"""A ninth source in a user's own file: every verb, the notebooks and the report, and no line of the package changed."""

import gzip
import json
from pathlib import Path

import pytest

from foundation.cli import main
from foundation.delivery.sample import write_sample
from tests.support.inspection import query

MINE = '''
"""The eight sources of the delivery, and payments: one file a month, some packed, with semicolons."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from foundation import Format, Record
from foundation.delivery.sources import (
    Client,
    Driver,
    ExternalFactor,
    Feedback,
    FleetLog,
    Order,
    Warehouse,
    WarehouseLog,
)


class Payment(
    Record,
    table="payments",
    key="payment_id",
    references={"order_id": "orders"},
    indexes=[("paid_on",)],
    checks={"fee_is_below_the_amount": "fee < amount"},
    files="payments/*.csv",
    delimiter=";",
    encoding="cp1252",
):
    """Money that came for an order."""

    payment_id: str
    order_id: int = Field(gt=0)
    bank: Literal["Köln", "Zürich"]
    amount: Annotated[float, Format("1.234,56")]
    fee: Annotated[float, Format("1.234,56")]
    paid_on: Annotated[date, Format("%d.%m.%Y")]
'''
HEADER = "payment_id;order_id;bank;amount;fee;paid_on\n"


def month(number: int, *more: str) -> bytes:
    lines = [f"{number}-{n};{n};{('Köln', 'Zürich')[n % 2]};1.0{n:02},50;{n},5;{n}.{number}.2025" for n in range(1, 21)]
    return "\n".join([HEADER.strip(), *lines, *more, ""]).encode("cp1252")


pytestmark = pytest.mark.slow  # a report is made


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A delivery of nine sources, loaded and told of by `foundation report`."""
    home = tmp_path_factory.mktemp("own")
    write_sample(home / "data", orders=60, faults=0, seed=3)
    (home / "mine.py").write_text(MINE, "utf-8")
    (home / "data" / "payments").mkdir()
    (home / "data" / "payments" / "2025-01.csv").write_bytes(month(1))
    (home / "data" / "payments" / "2025-02.csv.gz").write_bytes(gzip.compress(month(2, "2-99;5;Köln;abc;1,0;1.2.2025")))
    (home / "data" / "payments" / "2025-03.csv").write_bytes(b"payment_id,order_id\n")
    assert run(home, "report", home / "data", "--db", home / "x.db", "--out", home / "out") == 1
    return home


def run(home: Path, verb: str, *words: object) -> int:
    return main([verb, *map(str, words), "--sources", str(home / "mine.py")])


def test_the_report_tells_of_it(home):
    folder = next(path.parent for path in (home / "out").glob("*/index.html"))
    index = " ".join((folder / "index.html").read_text("utf-8").split())
    page = (folder / "01_ingest_payments.html").read_text("utf-8")

    assert (folder / "02_overview.html").is_file()
    assert (folder / "03_explore.html").is_file()
    assert all(f"payments, 2025-0{name}" in index for name in ("1.csv", "2.csv.gz", "3.csv"))
    assert "payments, 2025-03.csv is refused" in index
    assert "separated by &#39;,&#39;, export the file with &#39;;&#39;" in index
    assert (
        "40 of 41 records of payments are stored, 1 are refused. Not all has been read: 2025-03.csv is refused" in page
    )
    assert "abc" in page
    assert not [f for f in json.loads((folder / "run.json").read_text("utf-8"))["pages"] if f["failure"]]


def test_a_file_of_it_that_is_gone_is_named_by_verify(home, capsys):
    folder = next(path.parent for path in (home / "out").glob("*/index.html"))
    (home / "data" / "payments" / "2025-01.csv").rename(home / "gone.csv")

    status = main(["verify", str(folder)])

    (home / "gone.csv").rename(home / "data" / "payments" / "2025-01.csv")
    assert status == 2
    assert "payments/2025-01.csv is gone" in " ".join(capsys.readouterr().err.split())


def test_every_other_verb_takes_it(home, capsys):
    data, db = home / "data", ["--db", home / "x.db"]

    assert run(home, "ingest", data, *db, "--json") == 1
    loads = json.loads(capsys.readouterr().out)["loads"]
    assert [load["status"] for load in loads if load["source"] == "payments"] == ["skipped", "skipped", "refused"]
    assert run(home, "check", data, "--source", "payments") == 1
    assert run(home, "stats", *db, "--source", "payments", "--json") == 0
    assert (
        run(home, "page", "payments", *db, "--where", "order_id__lte=3", "--columns", "payment_id,order_id.city") == 0
    )
    assert run(home, "explain", "payments", "2-7", *db) == 0
    assert run(home, "export", home / "x.db", home / "exported", "--format", "csv", "--source", "payments") == 0
    assert run(home, "migrate", *db) == 0
    assert run(home, "replay", *db) == 0
    assert run(home, "draft", data / "payments" / "2025-01.csv", "--delimiter", ";", "--encoding", "cp1252") == 0
    assert run(home, "rejects", *db, "--source", "payments", "--export", home / "rejects") == 0
    corrected = home / "rejects" / "payments.csv"
    corrected.write_text(corrected.read_text("utf-8").replace(",abc,", ',"1.234,5",'), "utf-8")
    assert run(home, "repair", home / "rejects", *db) == 0
    assert query(home / "x.db", "SELECT amount FROM payments WHERE payment_id = '2-99'") == [1234.5]
    assert "2025-01-07" in (home / "exported" / "payments.csv").read_text("utf-8")
