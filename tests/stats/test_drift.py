"""What has changed from the load before of the same source."""

import pytest

import foundation
from foundation.cli import main
from foundation.stats import overview as stats
from tests.support.deliveries import append, line, write_delivery, write_file
from tests.support.loading import ingest


def clients(number=100, **values):
    """Records of which *values* gives columns, each a function of the number."""
    return [{name: value(n) for name, value in values.items()} for n in range(number)]


def drifted(tmp_path, db, source, *deliveries):
    """What is told of the last of these deliveries of one source."""
    parents = [{} for _ in range(200)]
    for rows in deliveries:
        files = {"clients": parents, "orders": parents, "drivers": parents} | {source: rows}
        run = ingest(write_delivery(tmp_path / "data", **files), db)
    with foundation.open(db) as opened:
        return [(d["source"], d["column"], d["what"], d["told"]) for d in stats.drift(opened, run.run_id)]


def test_the_same_again_has_not_drifted(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=clients())
    ingest(data, db)
    run = ingest(data, db, again=True)

    with foundation.open(db) as opened:
        assert stats.drift(opened, run.run_id) == []


def test_a_first_load_has_nothing_to_drift_from(tmp_path, db):
    assert drifted(tmp_path, db, "clients", clients()) == []


@pytest.mark.parametrize(
    ("number", "told"), [(110, []), (111, ["111 rows, 100 before"]), (89, ["89 rows, 100 before"])]
)
def test_rows_by_a_tenth_more_or_fewer(tmp_path, db, number, told):
    before = clients(manager_name=lambda n: f"Asha {n}")
    after = clients(number, manager_name=lambda n: f"Meera {n}")

    assert [d[3] for d in drifted(tmp_path, db, "warehouses", before, after)] == told


@pytest.mark.parametrize(("missing", "told"), [(4, []), (30, [("orders", "actual_delivery_date", "missing")])])
def test_values_that_are_missing(tmp_path, db, missing, told):
    rows = clients(actual_delivery_date=lambda n: "" if n < missing else "2025-01-04 08:00:00")

    assert [d[:3] for d in drifted(tmp_path, db, "orders", clients(), rows)] == told


def test_new_values_of_a_small_vocabulary(tmp_path, db):
    cities = ["Pune", "Agra", "Surat"]
    before = clients(city=lambda n: cities[n % 2], client_name=lambda n: f"Name {n}")
    after = clients(city=lambda n: cities[n % 3], client_name=lambda n: f"Other {n}")

    assert drifted(tmp_path, db, "clients", before, after) == [
        ("clients", "city", "vocabulary", "city: 1 new values: Surat")
    ]


@pytest.mark.parametrize(
    ("column", "low", "high", "near", "far"),
    [
        ("capacity", "100", "200", "209", "211"),
        ("created_at", "2025-01-01 00:00:00", "2025-01-11 00:00:00", "2025-01-11 23:00:00", "2099-01-01 00:00:00"),
    ],
)
def test_values_outside_the_range_seen_before(tmp_path, db, column, low, high, near, far):
    before = clients(**{column: lambda n: (low, high)[n % 2]})

    for value, wanted in (near, []), (far, [f"{column}: from {low} to {far}, before from {low} to {high}"]):
        after = [*before[:-1], {column: value}]
        db.unlink(missing_ok=True)
        assert [d[3] for d in drifted(tmp_path, db, "warehouses", before, after)] == wanted


def test_what_was_added_to_a_file_is_compared_with_what_was_there(tmp_path, db):
    data = write_delivery(tmp_path / "data", clients=clients())
    ingest(data, db)
    append(data / "clients.csv", line("clients", 500, city="Surat"))
    run = ingest(data, db)

    with foundation.open(db) as opened:
        assert [d["told"] for d in stats.drift(opened, run.run_id)] == ["city: 1 new values: Surat"]


def test_what_has_drifted_needs_attention_and_is_shown(tmp_path, db, capsys):
    data = write_delivery(tmp_path / "data", clients=clients())
    ingest(data, db)
    write_file(data, "clients", *clients(200, city=lambda n: "Su\u202erat"))
    run = ingest(data, db)

    main(["stats", "--db", str(db)])

    with foundation.open(db) as opened:
        assert "clients: 200 rows, 100 before" in stats.attention(opened, run.run_id)
    assert "city: 1 new values: Su\\u202erat" in capsys.readouterr().out
