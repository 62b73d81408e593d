"""The command line: verbs, options, exit statuses and JSON shapes that are relied on from outside."""

import csv
import io
import json
import subprocess
import sys

import pytest

from foundation import SOURCES
from foundation.cli import main
from foundation.cli.commands import COMMANDS
from foundation.cli.options import parse
from tests.support.deliveries import FAULTS, write_delivery, write_file
from tests.support.inspection import query as sql


def run(capsys, *arguments):
    """Run a verb in this process: status, standard output, standard error."""
    capsys.readouterr()
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as exit_:  # argparse ends the program by itself
        status = exit_.code
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.fixture
def loaded(faulty_data, db):
    assert main(["ingest", str(faulty_data), "--db", str(db)]) == 0
    return db


@pytest.mark.parametrize("verb", [["--help"], ["ingest", "{data}", "--db", "{db}"], ["page", "{db}", "orders"]])
def test_what_is_heavy_is_imported_only_where_it_is_used(loaded, data, tmp_path, verb):
    filled = [part.format(data=data, db=loaded if verb[0] == "page" else tmp_path / "new.db") for part in verb]
    code = f"""
import contextlib, sys
from foundation import SOURCES
from foundation.cli import main
with contextlib.suppress(SystemExit):
    main({filled!r})
print(*sorted({{name.split(".")[0] for name in sys.modules}}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    heavy = {"pandas", "numpy", "matplotlib", "papermill", "nbconvert", "nbformat", "jinja2", "IPython"}
    imported = set(done.stderr.splitlines()[-1].split())
    assert "foundation" in imported
    assert imported & heavy == set()


def test_ingest_as_json_has_the_promised_shape(capsys, data, db):
    status, out, err = run(capsys, "ingest", data, "--db", db, "--json")

    told = json.loads(out)
    assert (status, err) == (0, "")
    assert list(told) == ["run_id", "status", "loads"]
    assert list(told["loads"][0]) == [
        "source", "path", "sha256", "status", "read", "inserted", "updated", "unchanged", "rejected",
        "warnings", "seconds", "peak_rss_bytes",
    ]  # fmt: skip
    assert [load["status"] for load in told["loads"]] == ["complete"] * 8
    assert told["loads"][3]["inserted"] == 6


def test_a_second_ingest_skips_and_again_reads(capsys, data, db):
    run(capsys, "ingest", data, "--db", db)

    _, out, _ = run(capsys, "ingest", data, "--db", db, "--json")
    _, again, _ = run(capsys, "ingest", data, "--db", db, "--json", "--again", "--source", "orders")

    assert {load["status"] for load in json.loads(out)["loads"]} == {"skipped"}
    assert [(load["source"], load["unchanged"]) for load in json.loads(again)["loads"]] == [("orders", 6)]


def test_the_chunk_size_is_kept(capsys, data, db):
    run(capsys, "ingest", data, "--db", db, "--chunk-size", "4")

    sizes = "SELECT records FROM _chunks JOIN _loads USING (load_id) WHERE source = 'orders' ORDER BY chunk_id"
    assert sql(db, sizes) == [4, 2]


def test_a_person_gets_a_table_and_is_told_how_to_see_the_rejects(capsys, faulty_data, db):
    status, out, err = run(capsys, "ingest", faulty_data, "--db", db)

    assert status == 0
    assert "orders" in out
    assert "foundation rejects --db" in err


@pytest.mark.parametrize(
    ("limit", "status"), [("0", 1), ("10", 1), ("100", 0), ("1%", 1), ("90%", 0)], ids=lambda value: str(value)
)
def test_more_rejects_than_allowed_give_status_1(capsys, faulty_data, db, limit, status):
    assert run(capsys, "ingest", faulty_data, "--db", db, "--max-rejects", limit)[0] == status


def test_a_refused_file_gives_status_1_and_its_reason(capsys, data, db):
    (data / "orders.csv").write_text("order_id\n1\n")

    status, out, _ = run(capsys, "ingest", data, "--db", db, "--json")

    orders = json.loads(out)["loads"][3]
    assert (status, orders["status"]) == (1, "refused")
    assert "the header lacks client_id" in orders["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ingest", "{data}/absent", "--db", "{db}"], "no such folder"),
        (["ingest", "{data}/orders.csv", "--db", "{db}"], "is a file; name the folder it is in"),
        (["ingest", "{data}", "--db", "{data}/no/such/x.db"], "does not exist; make it first"),
        (["ingest", "{data}", "--db", "{data}/orders.csv"], "not a database"),
        (["ingest", "{data}", "--db", "{db}", "--source", "orderz"], "no source orderz; there are clients"),
        (["ingest", "{data}", "--db", "{db}", "--sources", "{data}/none.py"], "no Python file"),
        (["stats", "--db", "{db}"], "no such database"),
        (["page", "orders", "--db", "{db}"], "no such database"),
        (["rejects", "--db", "{db}"], "no such database"),
        (["report", "{data}/absent", "--db", "{db}"], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_paragraph_with_status_2(capsys, data, db, arguments, told):
    status, out, err = run(capsys, *(text.format(data=data, db=db) for text in arguments))

    assert (status, out) == (2, "")
    assert err.startswith("foundation: ")
    assert err.count("\n") == 1
    assert told in err
    assert not db.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ingest"],
        ["ingest", "x", "--db", "y", "--chunk-size", "0"],
        ["ingest", "x", "--db", "y", "--memory-limit", "much"],
        ["ingest", "x", "--db", "y", "--max-rejects", "-1"],
        ["ingest", "x", "--db", "y", "--max-rejects", "101%"],
        ["page", "orders", "--db", "y", "--size", "0"],
        ["page", "orders", "--db", "y", "--after", "t", "--page", "2"],
        ["page", "orders", "--db", "y", "--format", "xml"],
    ],
)
def test_wrong_usage_gives_status_2(capsys, arguments):
    status, out, err = run(capsys, *arguments)

    assert (status, out) == (2, "")
    assert "usage: foundation" in err


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["sample", "{out}", "--sources", "mine.py"], "unrecognized arguments: --sources"),
        (["verify", "{data}", "--sources", "mine.py"], "unrecognized arguments: --sources"),
        (["doctor", "--sources", "mine.py"], "unrecognized arguments: --sources"),
        (["check", "{data}", "--max-rejects", "1"], "unrecognized arguments: --max-rejects"),
        (["ingest", "{data}", "--db", "{out}", "--cluster", "local"], "--cluster goes with --to only"),
        (["ingest", "{data}", "--db", "{out}", "--range-size", "64MiB"], "--range-size goes with --to only"),
        (["ingest", "{data}", "--to", "{out}", "--chunk-size", "1000"], "--chunk-size goes with --db only"),
        (["ingest", "{data}", "--to", "{out}", "--memory-limit", "1GB"], "--memory-limit goes with --db only"),
        (["report", "{data}", "--db", "{out}", "--workers", "2"], "--workers goes with --to only"),
        (["report", "{data}", "--db", "{out}", "--cluster", "tcp://x:1"], "--cluster goes with --to only"),
        (["report", "{data}", "--to", "{out}", "--chunk-size", "1000"], "--chunk-size goes with --db only"),
        (["ingest", "{data}", "--to", "{out}", "--cluster", "tcp://x:1", "--workers", "2"], "tcp://x:1 has its own"),
        (["report", "{data}", "--to", "{out}", "--cluster", "tcp://x:1", "--workers", "2"], "tcp://x:1 has its own"),
        (["rejects", "--db", "{data}/x.db", "--export", "{out}", "--format", "csv"], "not allowed with argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_would_be_ignored_is_refused(capsys, data, tmp_path, arguments, refused):
    out = tmp_path / "made"

    status, printed, err = run(capsys, *(text.format(data=data, out=out) for text in arguments))

    assert (status, printed) == (2, "")
    assert refused in err.splitlines()[-1]
    assert not out.exists()


@pytest.mark.parametrize("arguments", [["--db", "x"], ["--to", "x"]])
def test_options_that_go_with_the_target_have_their_defaults(arguments):
    options = parse(COMMANDS, ["ingest", "data", *arguments])

    assert (options.cluster, options.range_size, options.chunk_size) == ("local", 2**26, 1_000)
    assert options.memory_limit == 500 * 10**6


def test_check_stores_nothing_and_tells_by_its_status(capsys, data, faulty_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    faulty = run(capsys, "check", faulty_data)

    assert faulty[0] == 1
    assert "parent_rejected" in faulty[1]
    assert sorted(tmp_path.rglob("*")) == before


def test_check_of_a_sound_delivery_has_status_0(capsys, data):
    assert run(capsys, "check", data)[0] == 0
    assert run(capsys, "check", data, "--source", "fleet_logs")[0] == 0


def test_rejects_as_json_lines_have_the_promised_shape(capsys, loaded):
    status, out, err = run(capsys, "rejects", "--db", loaded, "--format", "jsonl")

    lines = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert len(lines) == sum(map(len, FAULTS.values()))
    assert list(lines[0]) == [
        "source", "path", "record", "line", "stage", "code", "column", "value", "message", "status",
    ]  # fmt: skip


def test_rejects_can_be_narrowed(capsys, loaded):
    _, out, _ = run(capsys, "rejects", "--db", loaded, "--source", "orders", "--code", "orphan", "--format", "jsonl")

    assert [json.loads(line)["record"] for line in out.splitlines()] == [5, 8]


def test_stats_as_json_have_the_promised_shape(capsys, loaded):
    status, out, err = run(capsys, "stats", "--db", loaded, "--json")

    told = json.loads(out)
    assert (status, err) == (0, "")
    assert list(told) == ["tables", "checks", "loads", "drift"]
    assert list(told["tables"])[:4] == ["clients", "drivers", "warehouses", "orders"]
    assert list(told["tables"]["clients"]) == ["rows", "columns"]
    assert list(told["checks"][0]) == ["source", "name", "rows"]


def test_a_page_as_json_leads_to_the_next(capsys, loaded):
    options = ["page", "orders", "--db", loaded, "--format", "json", "--columns", "order_id", "--size", "2"]

    first = json.loads(run(capsys, *options, "--order-by", "-order_id")[1])
    second = json.loads(run(capsys, *options, "--order-by", "-order_id", "--after", first["next"])[1])

    assert first["rows"] == [{"order_id": 12}, {"order_id": 5}]
    assert second["rows"] == [{"order_id": 4}, {"order_id": 2}]
    assert first["total"] == 5
    assert json.loads(run(capsys, *options, "--page", "3")[1])["next"] is None


def test_a_page_can_be_filtered_by_value_and_by_missing_value(capsys, loaded):
    options = ["page", "orders", "--db", loaded, "--format", "json", "--where", "failure_reason=", "--where"]

    assert json.loads(run(capsys, *options, "client_id=2")[1])["total"] == 2
    assert run(capsys, *options, "client_id")[0] == 2


def test_csv_for_a_spreadsheet_runs_no_formula_and_keeps_numbers(capsys, tmp_path, db):
    hostile = {"client_name": "=1+1", "contact_person": "@SUM(A1)", "address_line2": "-2+3", "city": "\tx"}
    main(["ingest", str(write_delivery(tmp_path / "data", clients=[hostile])), "--db", str(db)])

    _, out, _ = run(capsys, "page", "clients", "--db", db, "--format", "csv")

    row = next(csv.DictReader(io.StringIO(out, newline="")))
    assert row["client_name"] == "'=1+1"
    assert row["contact_person"] == "'@SUM(A1)"
    assert row["address_line2"] == "'-2+3"
    assert row["city"] == "'\tx"
    assert row["contact_phone"] == "+919876543210"


def test_control_characters_of_a_file_do_not_reach_the_terminal(capsys, tmp_path, db):
    hostile = {"client_name": "\x1b[2Jgone", "city": "\u202eevil", "contact_person": "a\x07b", "pincode": "\x9b31m"}
    main(["ingest", str(write_delivery(tmp_path / "data", clients=[hostile])), "--db", str(db)])

    _, out, _ = run(capsys, "page", "clients", "--db", db)

    assert not set("\x1b\u202e\x07\x9b") & set(out)
    assert "\\x1b[2Jgone" in out


def test_a_users_own_sources_are_loaded(capsys, tmp_path, db):
    (tmp_path / "mine.py").write_text(
        "from foundation import Record\n\n\n"
        "class Bike(Record, table='bikes', key='bike_id'):\n    bike_id: int\n    colour: str | None = None\n"
    )
    (tmp_path / "bikes.csv").write_text("colour,bike_id\nred,1\n,2\n")

    status, out, _ = run(capsys, "ingest", tmp_path, "--db", db, "--sources", tmp_path / "mine.py", "--json")

    assert (status, json.loads(out)["loads"][0]["inserted"]) == (0, 2)
    assert sql(db, "SELECT bike_id, colour FROM bikes") == [(1, "red"), (2, None)]


def test_sample_writes_a_delivery_that_loads(capsys, tmp_path, db):
    assert run(capsys, "sample", tmp_path / "made", "--orders", "40", "--faults", "0.1")[0] == 0

    status, out, _ = run(capsys, "ingest", tmp_path / "made", "--db", db, "--json")

    assert status == 0
    assert json.loads(out)["loads"][3]["read"] == 40


def test_the_module_can_be_run(tmp_path):
    done = subprocess.run([sys.executable, "-m", "foundation", "--help"], capture_output=True, text=True)

    assert done.returncode == 0
    assert "verbs:" in done.stdout


def test_a_reader_of_the_output_that_goes_away_is_no_error(loaded):
    command = f"{sys.executable} -m foundation rejects --db {loaded} --format jsonl | head -n 1"

    done = subprocess.run(command, shell=True, capture_output=True, text=True)  # noqa: S602

    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_file_that_is_missing_is_refused_while_the_others_load(capsys, tmp_path, db):
    (tmp_path / "data").mkdir()
    write_file(tmp_path / "data", "clients", {})

    status, out, _ = run(capsys, "ingest", tmp_path / "data", "--db", db, "--json")

    assert status == 1
    assert [load["status"] for load in json.loads(out)["loads"]] == ["complete"] + ["refused"] * 7


def test_a_page_fits_the_terminal_and_names_what_does_not(loaded, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    status, out, err = run(capsys, "page", "orders", "--db", loaded, "--size", 2)

    assert status == 0
    assert max(map(len, out.splitlines())) <= 60
    names = err.splitlines()[0].removeprefix("Not shown, for want of room: ").partition(" (")[0].split(", ")
    assert [*out.splitlines()[2].split(), *names] == [column.name for column in SOURCES[3].columns]
