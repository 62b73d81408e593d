"""A report, made for real: kernels, pages, indexes."""

import asyncio
import gc
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop

import foundation
from foundation.cli import main
from foundation.report import html as pages
from foundation.report.kernels import forked_kernels
from foundation.report.notebook import read_outcome, run_notebook
from foundation.report.result import Report
from foundation.report.widgets import Answer, Plot
from foundation.stats import overview as stats


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def test_every_source_has_a_page_and_an_executed_notebook(made):
    stems = [f"01_ingest_{source.name}" for source in foundation.SOURCES] + ["02_overview", "03_explore"]

    assert all((made / f"{stem}.html").is_file() for stem in stems)
    assert all((made / "notebooks" / f"{stem}.ipynb").is_file() for stem in stems)


def test_the_index_gives_the_law_with_the_figures_of_the_database(made):
    with foundation.open(made.parents[1] / "x.db") as database:
        read, rejected = database.rows("SELECT sum(read), sum(rejected) FROM _loads WHERE kind = 'file'").fetchone()

    told = soup(made / "index.html").get_text()

    assert f"{read:,} read = {read - rejected:,} stored + {rejected:,} refused" in " ".join(told.split())
    assert "Every record is accounted for" in told


def test_the_index_names_the_refused_file_first(made):
    points = soup(made / "index.html").find(id="attention").find_next("ol").find_all("li")

    assert points[0].get_text() == "drivers is refused"
    assert "the header lacks driver_name" in points[1].get_text()


def test_the_index_gives_an_example_with_each_reason(made):
    with foundation.open(made.parents[1] / "x.db") as database:
        why = [reason for reason in stats.reasons(database, run_id=made.name) if reason["stage"] == "schema"]

    points = [point.get_text() for point in soup(made / "index.html").find(id="attention").find_next("ol")("li")]

    assert why
    told = f"{why[0]['source']}: {why[0]['errors']} × {why[0]['code']} {why[0]['column']}, first in line"
    assert any(point.startswith(f"{told} {why[0]['first_line']}: ") for point in points)


def test_the_index_tells_every_broken_check_and_the_memory_against_its_budget(made):
    with foundation.open(made.parents[1] / "x.db") as database:
        broken = database.rows("SELECT source, name, value FROM _stats WHERE kind = 'check' AND value > 0").fetchall()
        (peak,) = database.rows("SELECT max(peak_rss_bytes) FROM _loads").fetchone()

    index = soup(made / "index.html")
    rows = [[cell.get_text() for cell in row("td")] for row in index.find(id="checks").find_next("table")("tr")][1:]

    assert {tuple(row[:3]) for row in rows} == {(source, name, f"{count:,}") for source, name, count in broken}
    assert all(row[4] for row in rows)
    assert f"at most {peak / 1e6:.0f} MB of 500 MB were resident" in index.get_text()


def test_the_index_of_all_runs_tells_what_changed(tmp_path):
    told = {"delivery": "d", "database": "x.db"}
    for report in (
        Report("1", tmp_path / "1", read=10, stored=9, rejected=1, why="there is none yet", **told),
        Report("2", tmp_path / "2", read=10, stored=10, **told | {"database": "y.db"}),
        Report("3", tmp_path / "3", read=1_012, stored=1_011, rejected=1, why="input <a>.csv changed", **told),
    ):
        report.folder.mkdir()
        report.save()

    pages.write_index_of_runs(tmp_path)

    rows = soup(tmp_path / "index.html")("tr")[1:]
    assert [[cell.get_text() for cell in row("td")] for row in rows] == [
        ["d", "complete", "1,012 (+1,002)", "1,011 (+1,002)", "1", "0", "input <a>.csv changed"],
        ["d", "complete", "10", "10", "0", "0", ""],
        ["d", "complete", "10", "9", "1", "0", "there is none yet"],
    ]


def test_pages_stay_small_whatever_is_refused(tmp_path):
    long = "\N{SNOWMAN}<" * 5_000
    rows = (f'{i},"{long if i % 2 else "short"}",{"x" * 3_000}\n' for i in range(1, 2_001))
    header = ",".join(column.name for column in foundation.SOURCES[0].columns)
    (tmp_path / "clients.csv").write_text(f"{header}\n{''.join(rows)}", "utf-8")

    main(
        ["report", str(tmp_path), "--db", str(tmp_path / "x.db"), "--out", str(tmp_path / "out"), "--source", "clients"]
    )

    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").glob("*/*.html")}
    assert sizes.keys() >= {"index.html", "01_ingest_clients.html"}
    assert max(sizes.values()) < 300_000, sizes


def test_all_loads_belong_to_the_run(made):
    with foundation.open(made.parents[1] / "x.db") as database:
        runs = database.rows("SELECT DISTINCT run_id, status FROM _runs").fetchall()
        loads = database.rows("SELECT DISTINCT run_id FROM _loads").fetchall()

    assert runs == [(made.name, "refused")]
    assert loads == [(made.name,)]


def test_the_index_of_all_runs_leads_to_the_run(made):
    links = [link["href"] for link in soup(made.parent / "index.html").select("main a")]

    assert links == [f"{made.name}/index.html"]


def test_every_link_leads_somewhere(made):
    pages = {path: soup(path) for path in [*made.glob("*.html"), made.parent / "index.html"]}
    anchors = {path.resolve(): {tag["id"] for tag in page.select("[id]")} for path, page in pages.items()}

    for path, page in pages.items():
        for link in page.find_all("a", href=True):
            target, _, anchor = link["href"].partition("#")
            there = path.parent / target if target else path
            assert there.is_file(), (path.name, link["href"])
            assert not anchor or anchor in anchors[there.resolve()], (path.name, link["href"])


def test_pages_load_nothing_and_run_nothing(made):
    for path in made.glob("*.html"):
        text = path.read_text("utf-8")
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', text), path.name
        assert not soup(path).find_all(["script", "link", "iframe"]), path.name
        assert "default-src 'none'" in text


def test_pages_are_made_for_all_readers(made):
    for path in made.glob("*.html"):
        page = soup(path)
        assert page.html["lang"] == "en"
        assert len(page.find_all("h1")) == 1, path.name
        assert page.find("main")
        assert all(cell.get("scope") for cell in page.find_all("th")), path.name
        assert all(svg.get("role") == "img" and svg["aria-label"] for svg in page.select(".plot > svg")), path.name


def test_an_ingest_page_is_small_and_hides_its_code_behind_a_click(made):
    path = made / "01_ingest_orders.html"

    page = soup(path)

    assert path.stat().st_size < 300_000
    assert all(code.find_parent("details") for code in page.select("pre > code"))
    assert len(page.select(".plot")) >= 4


def test_a_page_draws_what_each_cell_took(made):
    cells = nbformat.read(made / "notebooks" / "01_ingest_orders.ipynb", as_version=4).cells
    took = [cell.metadata.foundation.seconds for cell in cells if cell.cell_type == "code"]

    page = soup(made / "01_ingest_orders.html")

    bars = page.select("svg.cells rect")
    assert len(bars) == 2 * len(took)
    assert bars[took.index(max(took))]["height"] == "60.0"
    assert f"Bars for the {len(took)} code cells" in page.select_one("svg.cells")["aria-label"]


def test_a_source_is_loaded_after_those_that_it_refers_to_and_described_after_all(made):
    outcomes = {path.stem: read_outcome(path) for path in (made / "notebooks").glob("*.ipynb")}
    loads = {source.name: outcomes[f"01_ingest_{source.name}"] for source in foundation.SOURCES}

    for source in foundation.SOURCES:
        for parent in source.references.values():
            assert loads[parent].ended <= loads[source.name].started
    for name in ("02_overview", "03_explore"):
        assert max(load.ended for load in loads.values()) <= outcomes[name].started


def test_notebooks_got_their_parameters(made):
    notebook = nbformat.read(made / "notebooks" / "01_ingest_feedback.ipynb", as_version=4)

    given = next(cell.source for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", []))

    assert 'source = "feedback"' in given
    assert f'run_id = "{made.name}"' in given


def notebook_of(path: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_a_failing_notebook_says_where_and_still_gets_its_page(tmp_path, kernels):
    notebook = notebook_of(tmp_path / "n.ipynb", "print('before')", "# the second\n1 / 0", "print('after')")

    failure = run_notebook(notebook, tmp_path / "out.ipynb", {}, kernels=kernels)
    pages.make_page(tmp_path / "out.ipynb", tmp_path / "p.html", run_id="r", name="n", failure=failure)

    assert failure == "ZeroDivisionError: division by zero (in the cell that begins with “# the second”)"
    told = soup(tmp_path / "p.html").get_text()
    assert "This notebook did not run to its end" in told
    assert "before" in told
    assert "after" not in told.replace("print('after')", "")


def test_a_kernel_that_dies_is_told_and_still_gets_its_page(tmp_path, kernels):
    notebook = notebook_of(tmp_path / "n.ipynb", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "2")

    failure = run_notebook(notebook, tmp_path / "out.ipynb", {}, kernels=kernels)
    pages.make_page(tmp_path / "out.ipynb", tmp_path / "p.html", run_id="r", name="n", failure=failure)

    assert "The kernel died" in failure
    assert "The kernel died" in soup(tmp_path / "p.html").find(role="alert").get_text()


def test_a_cell_that_takes_too_long_is_told(tmp_path, kernels):
    notebook = notebook_of(tmp_path / "n.ipynb", "import time\ntime.sleep(60)")

    assert "longer than 1 s" in run_notebook(notebook, tmp_path / "out.ipynb", {}, cell_timeout_s=1, kernels=kernels)


def test_a_cell_that_takes_too_long_leaves_nothing_to_complain_about(tmp_path, kernels, caplog):
    notebook = notebook_of(tmp_path / "n.ipynb", "import time\ntime.sleep(1.3)")

    def run() -> None:
        with asyncio.Runner(loop_factory=ensure_event_loop):
            run_notebook(notebook, tmp_path / "out.ipynb", {}, cell_timeout_s=1, kernels=kernels)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()
    gc.collect()

    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


def said_by(tmp_path: Path, code: str, kernels: type[AsyncKernelManager]) -> str:
    notebook = notebook_of(tmp_path / "n.ipynb", code)
    assert run_notebook(notebook, tmp_path / "out.ipynb", {}, kernels=kernels) is None
    (cell,) = [c for c in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells if c.cell_type == "code"]
    return "".join(output.get("text", output.output_type) for output in cell.outputs)


def test_a_kernel_knows_nothing_of_the_one_before_and_works_beside_its_notebook(tmp_path, kernels):
    code = "import builtins, os; print(hasattr(builtins, 'left'), os.getcwd(), end=''); builtins.left = 1"

    assert [said_by(tmp_path, code, kernels) for _ in range(2)] == [f"False {tmp_path}"] * 2


def test_a_plot_made_with_pyplot_is_shown(tmp_path, kernels):
    code = "from matplotlib import pyplot; pyplot.plot([1]); None"

    assert "display_data" in said_by(tmp_path, code, kernels)


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_the_process_that_is_forked_ends_with_its_report(tmp_path):
    with forked_kernels() as manager:
        pid = int(said_by(tmp_path, "import os; print(os.getppid(), end='')", manager))
        assert psutil.pid_exists(pid)

    assert not psutil.pid_exists(pid)


def test_values_of_a_file_are_text_in_a_page(tmp_path):
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    notebook = notebook_of(
        tmp_path / "n.ipynb",
        "import pandas as pd; from foundation.report.widgets import Answer, Plot",
        f"Answer({hostile!r})",
        f"pd.DataFrame({{{hostile!r}: [{hostile!r}]}}, index=[{hostile!r}])",
        f"print({hostile!r})",
        f"plot = Plot({hostile!r}); plot.axes.set(title={hostile!r}); plot",
        f"raise ValueError({hostile!r})",
    )

    failure = run_notebook(notebook, tmp_path / "out.ipynb", {})
    pages.make_page(tmp_path / "out.ipynb", tmp_path / "p.html", run_id=hostile, name=hostile, failure=failure)

    page = soup(tmp_path / "p.html")
    assert not page.find_all(["script", "img"])
    assert not [tag for tag in page.find_all(True) if any(name.startswith("on") for name in tag.attrs)]
    assert page.get_text().count("alert(1)") >= 10


def test_a_plot_is_the_same_bytes_for_the_same_data():
    def drawn() -> str:
        plot = Plot("Line: three points.")
        plot.axes.plot([1, 2, 3], label="a")
        plot.axes.legend()
        return plot._repr_mimebundle_()["image/svg+xml"]

    assert drawn() == drawn()
    assert 'aria-label="Line: three points."' in drawn()


def test_an_answer_shows_control_characters():
    assert Answer("a\u202eb")._repr_mimebundle_()["text/plain"] == "a\\u202eb"


def test_the_facts_of_a_run_are_kept_as_json(made):
    facts = json.loads((made / "run.json").read_text("utf-8"))

    assert (facts["run_id"], facts["status"]) == (made.name, "refused")
    assert facts["read"] == facts["stored"] + facts["rejected"]
