"""The notebooks as tests: nbval must turn red when the package is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def nbval(root: Path, notebook: str) -> subprocess.CompletedProcess[str]:
    """Check one notebook of a copied project strictly, as `make test` does."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env",
        "--nbval-cell-timeout=120", f"--nbval-sanitize-with={root / 'tests/nbval.cfg'}", f"notebooks/{notebook}",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path):
    """A copy of the project that can be broken."""
    for name in ("foundation", "notebooks", "data"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/nbval.cfg", tmp_path / "tests")
    return tmp_path


def test_a_sound_package_keeps_the_notebook_green(project):
    assert nbval(project, "01_ingest.ipynb").returncode == 0


@pytest.mark.parametrize(
    ("module", "sound", "broken"),
    [
        ("schema/validator.py", "[text or None for", "[text for"),
        ("stats/overview.py", "ORDER BY errors DESC", "ORDER BY errors ASC"),
        ("report/template/plot.mplstyle", "font.size: 10", "font.size: 11"),
    ],
    ids=["missing values", "order of the reasons", "look of the plots"],
)
def test_a_broken_package_turns_the_notebook_red(project, module, sound, broken):
    path = project / "foundation" / module
    assert sound in path.read_text("utf-8")
    path.write_text(path.read_text("utf-8").replace(sound, broken), encoding="utf-8")

    checked = nbval(project, "01_ingest.ipynb")

    assert checked.returncode == 1
    assert " failed" in checked.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_reads_well(path):
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]

    assert cells[0].source.splitlines()[0].startswith("# ")
    assert cells[0].source.splitlines()[0].endswith("?")
    assert cells[1].metadata["tags"] == ["parameters"]
    assert all(len(cell.source.splitlines()) <= 10 for cell in code if not cell.source.startswith("import "))
    assert sum("assert " in cell.source for cell in code) >= 1
    assert any(cell.source.startswith("## What this stood on") for cell in cells)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make notebooks`"
