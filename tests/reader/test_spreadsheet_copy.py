"""A spreadsheet's copy of a file: `3/7/2025 8:48` for a time, numbers for telephone numbers, zeros and pluses lost."""

import csv
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from foundation.cli import main
from foundation.delivery import sources as delivery
from foundation.delivery.sample import write_sample
from tests.support.inspection import query


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """Clients as they were sent, orders as a spreadsheet has saved them."""
    folder = tmp_path_factory.mktemp("copy")
    write_sample(folder / "sent", orders=200, faults=0, seed=5)
    (folder / "data").mkdir()
    (folder / "data" / "clients.csv").write_bytes((folder / "sent" / "clients.csv").read_bytes())
    with (folder / "sent" / "orders.csv").open(encoding="utf-8", newline="") as sent:
        header, *rows = csv.reader(sent)
    with (folder / "data" / "orders.csv").open("w", encoding="utf-8", newline="") as saved:
        csv.writer(saved).writerows([header, *([_saved(field) for field in row] for row in rows)])
    return folder


def _saved(field: str) -> str:
    if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", field):
        t = datetime.fromisoformat(field)
        return f"{t.month}/{t.day}/{t.year} {t.hour}:{t.minute:02}"
    return str(int(field)) if re.fullmatch(r"[+0]\d+", field) else field


def sent(copy: Path) -> list[dict[str, str]]:
    with (copy / "sent" / "orders.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def loaded(copy: Path, capsys, *more: str) -> list[dict]:
    only = ["--source", "clients", "--source", "orders"]
    main(["ingest", str(copy / "data"), "--db", str(copy / f"{len(more)}.db"), *only, "--json", *more])
    return json.loads(capsys.readouterr().out)["loads"]


def test_as_it_is_declared_every_row_is_refused_and_why_is_told_once(copy, capsys):
    _, orders = loaded(copy, capsys)

    assert (orders["read"], orders["rejected"]) == (200, 200)
    (why,) = orders["warnings"]
    assert re.match(
        r"created_at, order_date, promised_delivery_date: 200 of 200 records are refused for values like '", why
    )
    assert "or declare its Format, such as %d/%m/%Y %H:%M" in why
    assert query(copy / "0.db", "SELECT count(DISTINCT record) FROM _rejects WHERE line IS NOT NULL") == [200]


def test_with_the_format_declared_it_is_loaded_and_what_was_lost_is_named(copy, capsys):
    text = Path(delivery.__file__).read_text("utf-8")
    text = text.replace(": datetime", ': Annotated[datetime, Format("%m/%d/%Y %H:%M")]').replace(
        "from foundation.schema import", "from foundation import Format\nfrom foundation.schema import"
    )
    own = text[: text.index("class Driver(")] + text[text.index("class Order(") : text.index("class FleetLog(")]
    own = own.replace('created_at: Annotated[datetime, Format("%m/%d/%Y %H:%M")]', "created_at: datetime", 1)  # clients
    (copy / "mine.py").write_text(own, "utf-8")

    _, orders = loaded(copy, capsys, "--sources", str(copy / "mine.py"))

    assert (orders["rejected"], orders["warnings"]) == (0, [])
    times = ("order_date", "promised_delivery_date", "created_at")
    assert query(copy / "2.db", f"SELECT {', '.join(times)} FROM orders ORDER BY order_id") == [
        tuple(f"{row[name][:16]}:00" for name in times) for row in sent(copy)
    ]
    checks = dict(query(copy / "2.db", "SELECT name, value FROM _stats WHERE kind = 'check' AND source = 'orders'"))
    lost = [row["pincode"] for row in sent(copy) if row["pincode"].startswith("0")]
    assert checks["pincode_has_six_digits"] == len(lost) > 5
    phones = [row["customer_phone"] for row in sent(copy)]
    cut = [phone for phone in phones if phone.startswith("+") or len(str(int(phone))) < 10]
    assert checks["customer_phone_is_complete"] == len(cut) > 50
