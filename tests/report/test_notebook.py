"""What becomes of a notebook is told as it is, by whatever way it ends; its cells have the memory they took."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager

from foundation.errors import ReportError
from foundation.report.kernels import forked_kernels
from foundation.report.notebook import read_outcome, run_notebook
from foundation.report.parameters import check_parameters

ROOT = Path(__file__).parents[2]


def notebook_of(path: Path, *sources: str, parameters: str = "") -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if parameters:
        cells.insert(0, nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    metadata = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def told(copy: Path) -> list[dict]:
    """What the executed notebook says of its code cells."""
    return [c.metadata.foundation for c in nbformat.read(copy, as_version=4).cells if c.cell_type == "code"]


ENDS = {
    "an exception": ("1 / 0", "failed", "ZeroDivisionError: division by zero"),
    "an early exit": ("import sys; sys.exit(0)", "failed", "SystemExit: 0"),
    "no memory": ("raise MemoryError", "out-of-memory", "ran out of memory"),
    "SIGKILL": ("import os; os.kill(os.getpid(), 9)", "killed", "ended by signal 9, SIGKILL; it held "),
    "its own end": ("import os; os._exit(3)", "killed", "The kernel died with status 3"),
    "a time-out": ("import time; time.sleep(60)", "timed-out", "A cell took longer than 2 s"),
}


@pytest.mark.parametrize("way", ENDS)
def test_every_end_is_told_and_cells_behind_it_are_not_run(tmp_path, kernels, way):
    code, status, why = ENDS[way]
    notebook = notebook_of(tmp_path / "n.ipynb", "1", f"# here\n{code}", "2")

    failure = run_notebook(notebook, tmp_path / "out.ipynb", {}, cell_timeout_s=2, kernels=kernels)

    assert why in failure
    assert "begins with “# here”" in failure
    assert read_outcome(tmp_path / "out.ipynb")[:2] == (status, failure)
    assert [cell["status"] for cell in told(tmp_path / "out.ipynb")] == ["completed", status, "not-run"]
    cells = [c for c in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells if c.cell_type == "code"]
    assert [c.metadata.papermill["status"] for c in cells] == ["completed", "failed", "not-run"]


def test_a_notebook_as_a_whole_has_a_time_too(tmp_path, kernels):
    notebook = notebook_of(tmp_path / "n.ipynb", *["import time; time.sleep(0.7)"] * 9)

    failure = run_notebook(notebook, tmp_path / "out.ipynb", {}, notebook_timeout_s=2, kernels=kernels)

    assert "The notebook took longer than 2 s" in failure
    assert [cell["status"] for cell in told(tmp_path / "out.ipynb")][-1] == "not-run"


def test_a_kernel_that_cannot_start_is_told_and_no_cell_is_called_complete(tmp_path):
    class Broken(AsyncKernelManager):
        async def _async_pre_start_kernel(self, **given: object) -> object:
            raise RuntimeError("no room")

    failure = run_notebook(notebook_of(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb", {}, kernels=Broken)

    assert failure == "The kernel did not start: no room"
    assert told(tmp_path / "out.ipynb") == [{"status": "not-run"}]


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_without_the_process_that_is_forked_kernels_start_as_usual(tmp_path):
    with forked_kernels() as manager:
        manager.server.process.kill()
        manager.server.process.wait()

        assert run_notebook(notebook_of(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb", {}, kernels=manager) is None


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_a_kernel_ends_with_the_process_it_was_forked_from_and_that_is_told(tmp_path):
    notebook = notebook_of(tmp_path / "n.ipynb", "import os, signal, time; os.kill(os.getppid(), 9); time.sleep(60)")
    with forked_kernels() as manager:
        failure = run_notebook(notebook, tmp_path / "out.ipynb", {}, kernels=manager)

    assert "The kernel died" in failure


def test_memory_that_a_cell_takes_and_gives_back_is_seen(tmp_path, kernels):
    notebook = notebook_of(
        tmp_path / "n.ipynb", "pass", "import time; taken = b'x' * 300_000_000; time.sleep(0.1); del taken", "pass"
    )

    assert run_notebook(notebook, tmp_path / "out.ipynb", {}, kernels=kernels) is None

    before, taking, after = told(tmp_path / "out.ipynb")
    assert 290e6 < taking["rss_peak"] - taking["rss_before"] < 350e6
    assert taking["rss_after"] - taking["rss_before"] < 20e6
    assert before["rss_peak"] < taking["rss_peak"] - 250e6 > after["rss_peak"] - 50e6


def test_the_cell_of_the_parameters_has_the_same_name_each_time(tmp_path):
    notebook = notebook_of(tmp_path / "n.ipynb", "print(a)", parameters="a = 1")

    assert run_notebook(notebook, tmp_path / "out.ipynb", {"a": 2, "unknown": 3}) is None

    assert [c.id for c in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells][1] == "injected-parameters"


def test_what_kernels_say_cannot_be_read_on_the_network(tmp_path, kernels):
    code = "import json, ipykernel; print(len(json.load(open(ipykernel.get_connection_file()))['curve_secretkey']))"
    notebook = notebook_of(tmp_path / "n.ipynb", code)

    assert run_notebook(notebook, tmp_path / "out.ipynb", {}, kernels=kernels) is None

    (cell,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert cell.outputs[0].text.strip() == "40"


PARAMETERS = "n = 1_000\nname: str = 'x'\nshare = 0.5\nis_on = False\nfree = None\nmade = str(1)  # type: str"


@pytest.mark.parametrize(
    "given", [{"n": 2}, {"name": "1"}, {"share": 1}, {"share": 0.1}, {"is_on": True}, {"free": 1}, {"made": 2}]
)
def test_a_parameter_that_fits_is_taken(tmp_path, given):
    check_parameters([notebook_of(tmp_path / "n.ipynb", parameters=PARAMETERS)], given)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"n": "many"}, "n is declared as int, got 'many'"),
        ({"n": True}, "n is declared as int, got True"),
        ({"n": 1.5}, "n is declared as int, got 1.5"),
        ({"name": 1}, "name is declared as str, got 1"),
        ({"is_on": 1}, "is_on is declared as bool, got 1"),
        ({"name": [1]}, "cannot be a parameter"),
        ({"zzz": 3}, "zzz is a parameter of none of n.ipynb"),
    ],
)
def test_a_parameter_that_does_not_fit_is_told_before_a_kernel_starts(tmp_path, given, why):
    notebook = notebook_of(tmp_path / "n.ipynb", parameters=PARAMETERS)

    with pytest.raises(ReportError, match="no notebook was run") as raised:
        check_parameters([notebook], given)

    assert why in str(raised.value)


def papermill(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """papermill's command line, where this package is installed with the entry points that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installed = tmp_path / "site" / "foundation-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: foundation\nVersion: 0\n")
    points = "".join(f"{name} = {at}\n" for name, at in project["entry-points"]["papermill.engine"].items())
    (installed / "entry_points.txt").write_text(f"[papermill.engine]\n{points}")
    environment = os.environ | {"PYTHONPATH": f"{installed.parent}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "papermill", "--engine", "foundation", "--no-progress-bar", "-k", "python3"]
    return subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)


def test_papermill_finds_the_engine_by_its_name(tmp_path):
    notebook_of(tmp_path / "n.ipynb", "print(a)", "import os; os.kill(os.getpid(), 9)", "2", parameters="a = 1")

    done = papermill(tmp_path, "n.ipynb", "out.ipynb", "-p", "a", "7")

    assert done.returncode == 138, done.stderr
    statuses = [cell["status"] for cell in told(tmp_path / "out.ipynb")]
    assert statuses == ["completed", "completed", "completed", "killed", "not-run"]


@pytest.mark.parametrize(("name", "value", "why"), [("a", "x", "declared as int, got 'x'"), ("z", "1", "no parameter")])
def test_papermill_refuses_parameters_that_do_not_fit(tmp_path, name, value, why):
    notebook_of(tmp_path / "n.ipynb", "print(a)", parameters="a = 1")

    done = papermill(tmp_path, "n.ipynb", "out.ipynb", "-p", name, value)

    assert done.returncode
    assert why in done.stderr
    assert not (tmp_path / "out.ipynb").exists()
