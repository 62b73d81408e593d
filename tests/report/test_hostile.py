"""Hostile texts as parameters of a notebook: it gets them as they are, and nothing of them runs in its page."""

import json
import os
import subprocess
from datetime import date
from decimal import Decimal
from pathlib import Path

import nbformat
import numpy
import pytest
from bs4 import BeautifulSoup

from foundation.errors import ReportError, visible
from foundation.report.html import make_page
from foundation.report.notebook import run_notebook
from tests.support.hostile import FOLDER, HOSTILE, require_harmless
from tests.support.processes import chromium

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--dump-dom",
]  # fmt: skip


def write_notebook(path: Path, cells: list[nbformat.NotebookNode]) -> None:
    kernel = {"name": "python3", "display_name": "Python", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Path:
    """A folder with a notebook that got every text as a parameter and shows them in every way, and its page."""
    folder = tmp_path_factory.mktemp("shown") / FOLDER
    folder.mkdir()
    names = [f"t{i}" for i in range(len(HOSTILE))]
    cells = [
        nbformat.v4.new_code_cell("\n".join(f"{name} = ''" for name in names), metadata={"tags": ["parameters"]}),
        *map(
            nbformat.v4.new_code_cell,
            (
                f"import json; texts = [{', '.join(names)}]; json.dump(texts, open('got.json', 'w'))",
                "from foundation.report.widgets import Answer, Note, Plot, Table; import pandas",
                "Table({'text': texts}, limit=1_000)",
                "pandas.DataFrame({'text': texts, texts[9]: 1}, index=texts)",
                "print(*texts)",
                "Answer(' '.join(texts))",
                "plot = Plot(texts[12]); plot.axes.barh(texts, 1); plot.axes.set(title=texts[9]); plot",
                "raise ValueError(texts[9])",
            ),
        ),
    ]
    write_notebook(folder / "n.ipynb", cells)
    failure = run_notebook(folder / "n.ipynb", folder / "out.ipynb", dict(zip(names, HOSTILE, strict=True)))
    make_page(folder / "out.ipynb", folder / "p.html", run_id=HOSTILE[9], name=HOSTILE[9], failure=failure)
    assert failure.startswith(f"ValueError: {HOSTILE[9]}")
    return folder


def test_a_notebook_gets_every_text_as_it_is(shown):
    assert json.loads((shown / "got.json").read_text("utf-8")) == HOSTILE


@pytest.mark.parametrize(
    "value",
    [Path('a"; x = 1 #'), ('"; x = 1 #',), ["a"], {"a": 1}, {"a"}, b"a", None, Decimal(1), numpy.int64(1),
     date(2025, 1, 1), object()],
)  # fmt: skip
def test_a_parameter_that_is_not_plain_is_refused(shown, tmp_path, value):
    with pytest.raises(ReportError, match=r"t0: .* cannot be a parameter of a notebook"):
        run_notebook(shown / "n.ipynb", tmp_path / "out.ipynb", {"t0": value})

    assert not (tmp_path / "out.ipynb").exists()


def test_a_parameter_that_the_notebook_does_not_declare_is_left_out(tmp_path):
    cells = [nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell("x")]
    write_notebook(tmp_path / "n.ipynb", cells)

    assert run_notebook(tmp_path / "n.ipynb", tmp_path / "out.ipynb", {"x=2;y": 1, "1/0 #": "a", "x": 5}) is None

    ran = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert "y" not in "".join(cell.source for cell in ran.cells)
    assert ran.cells[-1].outputs[0].data["text/plain"] == "5"


def in_browser(page: Path, profile: Path) -> BeautifulSoup:
    """The page as it is after Chromium has opened it, with whatever ran in it."""
    done = subprocess.run(
        [chromium(), *CHROMIUM, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True, timeout=120, check=True, env=os.environ | {"HOME": str(profile)},
    )  # fmt: skip
    return BeautifulSoup(done.stdout.decode(), "html.parser")


def test_every_text_is_visible_in_the_page_of_a_notebook_and_none_runs(shown, tmp_path):
    page = in_browser(shown / "p.html", tmp_path)

    require_harmless(page)
    told = [cell.get_text() for cell in page.find("table").select("tbody td")]
    assert told == [visible(text, 300) for text in HOSTILE]


def test_a_browser_does_run_what_is_not_escaped(tmp_path):
    # Without those that leave the page: a browser on its way elsewhere has nothing to show.
    told = "".join(text for text in HOSTILE if "127.0.0.1" not in text)
    (tmp_path / "p.html").write_text(f"<main>{told}</main>", encoding="utf-8")

    page = in_browser(tmp_path / "p.html", tmp_path / "profile")

    assert page.find_all(id="pwned")
    with pytest.raises(AssertionError):
        require_harmless(page)
