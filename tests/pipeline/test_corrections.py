"""Rejects out to a person, corrected records back, open rejects judged again, and where a row came from."""

import base64
import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import foundation
from foundation.cli import main
from foundation.errors import QueryError
from foundation.query.lineage import explain
from foundation.query.rejects_export import export_rejects
from foundation.reader.csv_writer import guard, unguard
from tests.support.deliveries import header, line, write_delivery, write_file
from tests.support.inspection import content, keys, open_rejects, query, snapshot
from tests.support.loading import ingest


@pytest.fixture
def broken(tmp_path, db) -> Path:
    """Two clients, one of them refused; three orders that need it, one of them damaged; a log of each."""
    data = write_delivery(
        tmp_path / "data",
        clients=[{}, {"created_at": "3/7/2025 8:48", "client_name": "=1+1", "pincode": "007001"}],
        orders=[{"client_id": 2}, {}, line("orders", 3, client_id=2).replace("Pune", 'Pu"ne')],
        drivers=[{}],
        fleet_logs=[{"order_id": 1}, {"order_id": 2}, {"order_id": 3}],
    )
    ingest(data, db)
    return data


def exported(db: Path, out: Path) -> dict[str, list[dict[str, str]]]:
    with foundation.open(db) as database:
        export_rejects(database, out)
    return {path.stem: table(path) for path in out.glob("*.csv")}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def correct(out: Path, source: str, **changes: str) -> None:
    """Change the same columns in all rows of an export, as a person would."""
    path = out / f"{source}.csv"
    rows = table(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows([row | changes for row in rows])


def test_an_export_has_the_columns_of_the_file_and_the_reasons(broken, db, tmp_path):
    rows = exported(db, tmp_path / "out")

    assert sorted(rows) == ["clients", "fleet_logs", "orders"]
    (client,) = rows["clients"]
    assert list(client) == ["_reject_id", "_reasons", *header("clients").strip().split(","), "_raw"]
    assert client["_reasons"].startswith("created_at: Input should be a valid datetime")
    assert client["client_name"] == "'=1+1"
    assert client["pincode"] == "'007001"


def test_a_record_that_cannot_be_taken_apart_shows_its_text(broken, db, tmp_path):
    (damaged,) = [row for row in exported(db, tmp_path / "out")["orders"] if row["_raw"]]

    assert damaged["_reasons"].startswith("record: a quote where none may be")
    assert damaged["order_id"] == ""
    assert 'Pu"ne' in damaged["_raw"]


def test_json_lines_keep_every_byte(broken, db, tmp_path):
    exported(db, tmp_path / "out")

    lines = [
        json.loads(text) for path in (tmp_path / "out").glob("*.jsonl") for text in path.read_text("utf-8").splitlines()
    ]

    found = {reject["reject_id"]: base64.b64decode(reject["raw_base64"]) for reject in lines}
    assert found == dict(query(db, "SELECT reject_id, raw FROM _rejects WHERE status = 'open'"))


def test_a_correction_is_stored_and_releases_what_waited_for_it(broken, db, tmp_path, capsys):
    exported(db, tmp_path / "out")
    correct(tmp_path / "out", "clients", created_at="2025-07-03 08:48:00")
    (tmp_path / "out/orders.csv").unlink()

    assert main(["repair", str(tmp_path / "out"), "--db", str(db)]) == 1  # the logs of order 3 are refused still

    assert content(db)["clients"][1] == (2, "=1+1", *content(db)["clients"][0][2:10], "007001", "2025-07-03 08:48:00")
    assert (keys(db, "orders"), keys(db, "fleet_logs")) == ([1, 2], [1, 2])
    statuses = "SELECT source, record, status FROM _rejects ORDER BY source, record"
    assert query(db, statuses) == [
        ("clients", 2, "repaired"),
        ("fleet_logs", 1, "released"),
        ("fleet_logs", 3, "open"),
        ("orders", 1, "released"),
        ("orders", 3, "open"),
    ]


def test_a_repair_keeps_what_was_before_and_after(broken, db, tmp_path):
    exported(db, tmp_path / "out")
    correct(tmp_path / "out", "clients", created_at="'2025-07-03 08:48:00", city="Surat")

    main(["repair", str(tmp_path / "out"), "--db", str(db)])

    audit = "SELECT raw, after, p.path FROM _repairs p JOIN _rejects r USING (reject_id) WHERE r.source = 'clients'"
    ((before, after, path),) = query(db, audit)
    assert before == line("clients", 2, created_at="3/7/2025 8:48", client_name="=1+1", pincode="007001").encode()
    assert json.loads(after)[-1] == "2025-07-03 08:48:00"
    assert Path(path) == tmp_path / "out/clients.csv"


def test_a_repair_done_again_changes_nothing(broken, db, tmp_path):
    exported(db, tmp_path / "out")
    correct(tmp_path / "out", "clients", created_at="2025-07-03 08:48:00")
    main(["repair", str(tmp_path / "out"), "--db", str(db)])
    before = snapshot(db), query(db, "SELECT * FROM _repairs"), query(db, "SELECT count(*) FROM _loads")

    main(["repair", str(tmp_path / "out"), "--db", str(db)])

    assert (snapshot(db), query(db, "SELECT * FROM _repairs"), query(db, "SELECT count(*) FROM _loads")) == before


def test_a_correction_that_does_not_hold_leaves_its_reject_open(broken, db, tmp_path, capsys):
    exported(db, tmp_path / "out")
    correct(tmp_path / "out", "clients", created_at="soon")
    before = open_rejects(db)
    capsys.readouterr()

    status = main(["repair", str(tmp_path / "out"), "--db", str(db)])

    assert status == 1
    assert "created_at: Input should be a valid datetime" in capsys.readouterr().out
    assert open_rejects(db) == before


@pytest.mark.parametrize("number", ["", "x", "999", "-1", "1_0"])
def test_a_correction_of_an_unknown_reject_is_refused(broken, db, tmp_path, number):
    exported(db, tmp_path / "out")
    correct(tmp_path / "out", "clients", created_at="2025-07-03 08:48:00", _reject_id=number)

    assert main(["repair", str(tmp_path / "out"), "--db", str(db)]) == 1

    assert keys(db, "clients") == [1]


def test_repaired_records_obey_the_law(broken, db, tmp_path):
    exported(db, tmp_path / "out")
    correct(tmp_path / "out", "clients", created_at="2025-07-03 08:48:00")
    main(["repair", str(tmp_path / "out"), "--db", str(db)])

    law = "SELECT min(read = inserted + updated + unchanged + rejected) FROM _loads"
    by_load = "SELECT kind, sum(inserted) FROM _loads WHERE source = 'clients' GROUP BY kind ORDER BY kind"

    assert query(db, law) == [1]
    assert query(db, by_load) == [("file", 1), ("repair", 1)]


def test_a_wrong_folder_of_corrections_is_told(capsys, db, broken, tmp_path):
    capsys.readouterr()

    assert main(["repair", str(tmp_path / "none"), "--db", str(db)]) == 2
    assert "no folder with corrected exports" in capsys.readouterr().err


RULE = """
from foundation import Record
from pydantic import Field

class Note(Record, table="notes", key="note_id"):
    note_id: int
    stars: int = Field(le={most})
"""


@pytest.fixture
def ruled(tmp_path, db):
    """Three notes, two of which a rule refuses that is changed afterwards."""
    rules, data = tmp_path / "rules.py", tmp_path / "notes"
    rules.write_text(RULE.format(most=3))
    data.mkdir()
    (data / "notes.csv").write_text("note_id,stars\n1,3\n2,4\n3,6\n")
    assert main(["ingest", str(data), "--db", str(db), "--sources", str(rules)]) == 0
    rules.write_text(RULE.format(most=5))
    return rules


def test_a_dry_run_tells_what_a_replay_would_store_and_changes_nothing(ruled, db, capsys):
    dump = query(db, "SELECT * FROM notes"), query(db, "SELECT status FROM _rejects")
    capsys.readouterr()

    assert main(["replay", "--db", str(db), "--sources", str(ruled), "--dry-run"]) == 0

    assert "notes" in capsys.readouterr().out
    assert (query(db, "SELECT * FROM notes"), query(db, "SELECT status FROM _rejects")) == dump


def test_a_replay_stores_what_a_changed_rule_lets_pass(ruled, db):
    for _ in range(2):
        assert main(["replay", "--db", str(db), "--sources", str(ruled)]) == 0

    assert query(db, "SELECT note_id, stars FROM notes") == [(1, 3), (2, 4)]
    assert query(db, "SELECT record, status FROM _rejects") == [(2, "released"), (3, "open")]
    assert query(db, "SELECT message FROM _errors WHERE reject_id = 2") == ["Input should be less than or equal to 5"]


def told(db, table, key):
    with foundation.open(db) as database:
        return explain(database, table, key)


@pytest.mark.parametrize("chunk_size", [1, 2, 1000])
def test_a_stored_row_is_explained_down_to_its_bytes(tmp_path, db, chunk_size):
    data = write_delivery(tmp_path / "data", clients=[{}], orders=[{}] * 7)
    ingest(data, db, chunk_size=chunk_size)
    whole = (data / "orders.csv").read_bytes()

    for record in range(1, 8):
        row = told(db, "orders", str(record))
        assert row["raw"] == line("orders", record)
        assert whole[row["byte_start"] : row["byte_end"]].decode() == row["raw"]
        assert (row["record"], row["path"], row["note"]) == (record, str(data / "orders.csv"), None)
        assert whole[: row["byte_start"]].count(b"\n") + 1 == row["line"]


def test_a_row_of_a_file_that_changed_or_went_is_explained_without_its_bytes(broken, db):
    write_file(broken, "clients", {"city": "Agra"}, {})
    changed = told(db, "clients", "1")
    (broken / "clients.csv").unlink()

    assert (changed["raw"], changed["note"]) == (None, "the file is no longer the one that was loaded")
    assert "no such file" in told(db, "clients", "1")["note"]


def test_a_rejected_record_is_explained_by_its_key(broken, db):
    found = told(db, "clients", "2")

    assert found["row"] is None
    assert [(r["record"], r["status"], r["reasons"]) for r in found["rejects"]] == [
        (2, "open", "datetime_parsing created_at")
    ]


def test_a_released_row_is_explained_by_the_bytes_that_were_kept(broken, db, tmp_path):
    exported(db, tmp_path / "out")
    correct(tmp_path / "out", "clients", created_at="2025-07-03 08:48:00")
    for name in ("orders", "fleet_logs"):
        (tmp_path / f"out/{name}.csv").unlink()
    main(["repair", str(tmp_path / "out"), "--db", str(db)])

    assert told(db, "orders", "1")["raw"] == line("orders", 1, client_id=2)
    assert told(db, "clients", "2")["note"] == "corrected: the bytes are those before the correction"


def test_a_key_that_was_never_seen_is_told(broken, db):
    with pytest.raises(QueryError, match="no row with client_id 77"):
        told(db, "clients", "77")


def test_explain_as_json_is_one_document(broken, db, capsys):
    capsys.readouterr()

    assert main(["explain", "orders", "2", "--db", str(db), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["raw"] == line("orders", 2)


@given(st.text())
def test_what_is_guarded_comes_back_and_is_no_formula(text):
    assert unguard(guard(text)) == text
    assert not guard(text).startswith(tuple("=+-@\t\r\n\0"))
