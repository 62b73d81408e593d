"""Describing a database."""

import statistics

import pytest

import foundation
from foundation.stats import overview as stats
from tests.support.deliveries import FAULTS, write_delivery
from tests.support.loading import ingest


@pytest.fixture
def database(faulty_data, db):
    ingest(faulty_data, db)
    with foundation.open(db) as opened:
        yield opened


def test_columns_are_described_by_what_is_in_them(database):
    told = stats.describe(database, ["orders"])["tables"]["orders"]

    keys = [row["order_id"] for row in database["orders"]]

    assert told["rows"] == 5
    assert told["columns"]["order_id"] == {
        "count": 5, "missing": 0, "distinct": 5, "least": 1, "greatest": 12, "mean": 4.8,
        "sd": pytest.approx(statistics.pstdev(keys)), "frequent": [],
    }  # fmt: skip
    assert told["columns"]["failure_reason"] == {
        "count": 0, "missing": 5, "distinct": 0, "least": None, "greatest": None, "frequent": [],
    }  # fmt: skip


def test_checks_count_the_rows_that_break_them(tmp_path, db):
    orders = [{}, {"status": "Failed"}, {"amount": "0"}, {"actual_delivery_date": ""}]
    ingest(write_delivery(tmp_path / "data", clients=[{"pincode": "11001"}], orders=orders), db)

    with foundation.open(db) as opened:
        broken = {check["name"]: check["rows"] for check in stats.describe(opened)["checks"] if check["rows"]}

    assert broken == {
        "pincode_has_six_digits": 1,
        "delivered_has_a_delivery_date": 1,
        "only_delivered_has_a_delivery_date": 1,
        "failed_has_a_reason": 1,
        "amount_is_positive": 1,
    }


def test_the_most_frequent_values_come_first_and_the_spread_of_large_numbers_is_kept(tmp_path, db):
    amounts = [1e12 + n % 3 for n in range(7)]
    orders = [{"amount": f"{amount:.0f}", "city": "Goa" if n % 3 else "Pune"} for n, amount in enumerate(amounts)]
    ingest(write_delivery(tmp_path / "data", clients=[{}], orders=orders), db)

    with foundation.open(db) as opened:
        columns = stats.describe(opened)["tables"]["orders"]["columns"]

    assert columns["city"]["frequent"] == [["Goa", 4], ["Pune", 3]]
    assert columns["amount"]["frequent"][0] == [1e12, 3]
    assert columns["amount"]["sd"] == pytest.approx(statistics.pstdev(amounts))


def test_a_check_names_rows_that_break_it(tmp_path, db):
    orders = [{"amount": "0" if n % 2 else "5"} for n in range(9)]
    ingest(write_delivery(tmp_path / "data", clients=[{}], orders=orders), db)

    with foundation.open(db) as opened:
        examples = {check.name: check.examples for check in stats.describe(opened).checks if check.source == "orders"}

    assert examples["amount_is_positive"] == ["2", "4", "6"]
    assert examples["failed_has_a_reason"] == []


def test_statistics_show_themselves_with_every_value_as_text(tmp_path, db):
    orders = [{"city": "<b>Goa</b>"}, {"city": "<b>Goa</b>"}]
    ingest(write_delivery(tmp_path / "data", clients=[{}], orders=orders), db)

    with foundation.open(db) as opened:
        shown = stats.describe(opened, ["orders"])._repr_html_()

    assert '<caption style="text-align: left">orders: 2 rows' in shown
    assert "&lt;b&gt;Goa&lt;/b&gt; 2" in shown
    assert "<b>" not in shown


def test_every_check_can_be_asked(database):
    names = {(check["source"], check["name"]) for check in stats.describe(database)["checks"]}

    assert names == {(source.name, name) for source in foundation.SOURCES for name in source.checks}


def test_rejects_come_one_line_an_error_in_the_order_of_the_file(database):
    found = [(r["record"], r["stage"], r["code"], r["column"]) for r in stats.rejects(database, source="orders")]

    assert found == FAULTS["orders"]


def test_reasons_add_up_to_all_errors(database):
    why = stats.reasons(database)

    assert sum(reason["errors"] for reason in why) == sum(map(len, FAULTS.values()))
    assert [reason["errors"] for reason in why] == sorted((r["errors"] for r in why), reverse=True)


def test_references_count_the_parents_that_nobody_refers_to(database):
    told = {(r["child"], r["column"]): (r["rows"], r["parents without"]) for r in stats.references(database)}

    assert told["orders", "client_id"] == (5, 0)
    assert told["feedback", "order_id"] == (2, 3)


def test_a_skipped_file_is_told_of_by_the_load_that_read_it(database, faulty_data, db):
    again = ingest(faulty_data, db)

    load = stats.files_of(database, again.run_id, "orders")[0]

    assert (load["status"], load["read"], load["inserted"]) == ("complete", 12, 5)


def test_a_refused_file_comes_first_among_what_needs_attention(faulty_data, db):
    (faulty_data / "drivers.csv").write_bytes(b"")
    run = ingest(faulty_data, db)

    with foundation.open(db) as opened:
        points = stats.attention(opened, run.run_id)

    assert points[0] == "drivers is refused"
    assert "the file is empty" in points[1]


@pytest.mark.parametrize(("broken", "needs_attention"), [(2, False), (3, True)])
def test_a_check_that_more_than_a_tenth_of_the_rows_break_needs_attention(tmp_path, db, broken, needs_attention):
    orders = [{"amount": "0" if n < broken else "5"} for n in range(20)]
    run = ingest(write_delivery(tmp_path / "data", clients=[{}], orders=orders), db)

    with foundation.open(db) as opened:
        points = stats.attention(opened, run.run_id)

    sentence = "orders: 15% of 20 rows break the check amount_is_positive"
    assert [point for point in points if "amount_is_positive" in point] == [sentence] * needs_attention


def test_six_reasons_need_attention_one_by_one_the_others_are_added_up(tmp_path, db):
    wrong = {"status": "x", "payment_mode": "x", "amount": "x", "created_at": "x", "failure_reason": "x"}
    wrong |= {"order_date": "x", "promised_delivery_date": "x", "actual_delivery_date": "x"}
    run = ingest(write_delivery(tmp_path / "data", clients=[{}], orders=[{}] * 10 + [wrong, wrong]), db)

    with foundation.open(db) as opened:
        points = stats.attention(opened, run.run_id)

    assert [point.partition(",")[0] for point in points] == [
        "orders: 2 × datetime_parsing actual_delivery_date",
        "orders: 2 × datetime_parsing created_at",
        "orders: 2 × datetime_parsing order_date",
        "orders: 2 × datetime_parsing promised_delivery_date",
        "orders: 2 × float_parsing amount",
        "orders: 2 × literal_error failure_reason",
        "2 more reasons why records were refused",
    ]
    assert points[-1].endswith(", 4 errors")


def test_what_waits_for_a_parent_comes_after_what_is_wrong_in_itself(tmp_path, db):
    orders = [{"client_id": 9}, {"client_id": 9}, {"amount": "x"}]
    run = ingest(write_delivery(tmp_path / "data", clients=[{}], orders=orders), db)

    with foundation.open(db) as opened:
        codes = [point.split(" × ")[1].split(",")[0] for point in stats.attention(opened, run.run_id) if "×" in point]

    assert codes == ["float_parsing amount", "orphan client_id"]
