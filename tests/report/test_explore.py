"""What 03_explore says is true: of planted effects, of pure chance, of hardly any rows and of none."""

import ast
import csv
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib import pyplot

from foundation.delivery.sample import write_sample
from tests.support.deliveries import write_delivery

NOTEBOOK = Path(__file__).parents[2] / "notebooks/03_explore.ipynb"


def told(data: Path) -> tuple[str, dict[str, Any]]:
    """Run the cells on a delivery: all that they show, as text, and the names they leave behind."""
    names: dict[str, Any] = {}
    shown = []
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            body = ast.parse(cell.source).body
            last = [body.pop()] if isinstance(body[-1], ast.Expr) else []
            exec(compile(ast.Module(body, []), cell.id, "exec"), names)  # noqa: S102  # our own notebook
            value = eval(compile(ast.Expression(last[0].value), cell.id, "eval"), names) if last else None  # noqa: S307
            shown.append(value._repr_mimebundle_()["text/plain"] if value is not None else "")
        if "parameters" in cell.metadata.get("tags", []):
            names["data"] = str(data)
    names["database"].close()
    pyplot.close("all")  # a plot that gave way to a note is not shown, nor closed
    return "\n".join(shown), names


def shuffle(path: Path, *columns: str) -> None:
    """Deal the values of these columns, together, to the records of a file afresh."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    dealt = [[row[column] for column in columns] for row in rows]
    dealt = [dealt[at] for at in np.random.default_rng(1).permutation(len(dealt))]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | dict(zip(columns, new, strict=True)) for row, new in zip(rows, dealt, strict=True))


def test_what_was_planted_is_found_and_nothing_else(tmp_path):
    write_sample(tmp_path / "data", orders=4_000, seed=5)

    text, names = told(tmp_path / "data")

    found = {(row.outcome, row.by) for row in names["found"].itertuples()}
    assert {("failed", "city"), ("failed", "traffic"), ("failed", "weather")} <= found
    assert {("blamed the traffic", "traffic"), ("blamed the weather", "weather")} <= found
    assert {by for outcome, by in found if outcome == "failed"} == {"city", "traffic", "weather"}
    assert "came late" not in {outcome for outcome, _ in found}
    assert all(group in text for group in ("city (Mumbai, ", "traffic (Heavy, ", "weather (Fog, "))
    assert "they go together" in text


def test_pure_chance_gives_no_finding(tmp_path):
    write_sample(tmp_path / "data", orders=4_000, seed=5)
    shuffle(tmp_path / "data/orders.csv", "status", "actual_delivery_date", "failure_reason")
    shuffle(tmp_path / "data/feedback.csv", "rating")

    text, names = told(tmp_path / "data")

    assert len(names["found"]) == 0
    assert "Nothing that is recorded goes with it beyond chance" in text
    assert "they do not go together" in text


def test_nothing_is_said_of_no_rows(tmp_path):
    text, _ = told(write_delivery(tmp_path / "data"))

    assert "No order has come to an end yet: nothing can be said." in text
    assert "Nobody wrote." in text


@pytest.mark.parametrize("status", ["Failed", "Delivered", "Pending"])
def test_a_single_order_is_no_finding(tmp_path, status):
    order = {"status": status, "failure_reason": "Stockout" if status == "Failed" else None}
    rest = {name: [{}] for name in ("clients", "drivers", "warehouses", "fleet_logs", "external_factors", "feedback")}

    text, names = told(write_delivery(tmp_path / "data", orders=[order], **rest))

    assert len(names["found"]) == 0
    assert ("1 of 1 ended orders failed" in text) == (status == "Failed")


def test_the_interval_is_wilsons(tmp_path):
    _, names = told(write_delivery(tmp_path / "data"))

    low, share, high = names["interval"](np.array([0, 5, 10]), np.array([10, 10, 10]))

    assert low == pytest.approx([0, 23.66, 72.25], abs=0.01)  # of none z² / (n + z²) at most
    assert share == pytest.approx([0, 50, 100])
    assert high == pytest.approx([27.75, 76.34, 100], abs=0.01)


def test_chance_agrees_with_the_exact_test_of_a_two_by_two_table(tmp_path):
    _, names = told(write_delivery(tmp_path / "data"))

    # Fisher's lady tasting tea: three of four right, p of both sides 34/70.
    assert names["chance"](np.array([4, 4]), np.array([3, 1])) == pytest.approx(34 / 70, abs=0.02)
    assert names["chance"](np.array([4, 4]), np.array([4, 0])) == pytest.approx(2 / 70, abs=0.01)
