"""What Jupyter shows of a page, a query, a load, the database and the cache: all values as text, none as markup."""

import json
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

import foundation
from foundation.errors import visible
from tests.support.deliveries import write_delivery
from tests.support.hostile import HOSTILE
from tests.support.loading import ingest


@pytest.fixture
def db(tmp_path):
    orders = [{"city": text} for text in HOSTILE if text.strip()]
    run = ingest(write_delivery(tmp_path / "data", clients=[{}], orders=orders), tmp_path / "x.db")
    with foundation.open(tmp_path / "x.db") as db:
        yield db, run


def test_a_page_shows_its_rows_and_the_way_to_the_next(db):
    page = db[0]["orders"].select("order_id", "city").page(5).forward()

    shown = BeautifulSoup(page._repr_html_(), "html.parser")

    assert shown.caption.text == f"rows 6 to 10 of {page.total:,}"
    assert [[cell.text for cell in row.find_all("td")] for row in shown.tbody.find_all("tr")] == [
        [str(key), visible(city, 300)] for key, city in page.rows
    ]
    assert [way.text for way in shown.find_all("code")] == ["page.back()", "page.forward()"]
    assert {head["scope"] for head in shown.find_all("th")} == {"col"}


@pytest.mark.parametrize("which", range(4))
def test_nothing_of_a_file_becomes_markup(db, which):
    database, run = db
    shown = [database["orders"].page(500), database["orders"], run, database][which]._repr_html_()

    tags = {tag.name for tag in BeautifulSoup(shown, "html.parser").find_all()}

    assert tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p", "code"}
    assert shown.isprintable()


def test_a_database_and_a_load_tell_their_counts(db):
    database, run = db
    rows = len([text for text in HOSTILE if text.strip()])

    assert f"orders {rows}" in repr(database)
    told = BeautifulSoup(run._repr_html_(), "html.parser")
    assert [cell.text for cell in told.find_all("tr")[4].find_all("td")][:4] == [
        "orders", "complete", str(rows), str(rows)]  # fmt: skip
    assert "clients" in database._repr_html_()


def test_jupyter_completes_the_names_of_tables_and_columns(db):
    code = """
import json, sys, foundation
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.user_ns["db"] = foundation.open(sys.argv[1])
shell.user_ns["orders"] = shell.user_ns["db"]["orders"]
print(json.dumps([shell.complete(None, text, len(text))[1] for text in ('db["or', 'orders["ci')]))
"""
    done = subprocess.run([sys.executable, "-c", code, db[0].path], capture_output=True, text=True, check=True)

    tables, columns = json.loads(done.stdout.splitlines()[-1])
    assert tables == ["orders"]
    assert columns == ["city"]
