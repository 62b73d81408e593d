"""What is written down is true: examples run, every verb, table and code is told of."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import foundation
from foundation.cli import main
from foundation.cli.commands import COMMANDS
from tests.support.documents import run_python, run_shell
from tests.support.inspection import query
from tests.support.loading import ingest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
RULES = (ROOT / "docs/rules.md").read_text("utf-8")


@pytest.mark.parametrize("verb", [command.name for command in COMMANDS])
def test_every_verb_is_in_the_readme(verb):
    assert f"foundation {verb} " in README or f"`{verb}`" in README


def test_the_python_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    (example, *_) = re.findall(r"```python\n(.*?)```", README, re.S)

    exec(compile(example, "README.md", "exec"), {})  # noqa: S102  # our own text

    assert capsys.readouterr().out.startswith("complete ")


def test_the_shell_examples_run_as_they_stand(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    lines = [line for line in re.findall(r"^foundation (.*?)\s*(?:#.*)?$", README, re.M) if not line.startswith("VERB")]

    statuses = {line: main(line.split()) for line in lines}

    assert len(statuses) >= 9
    assert set(statuses.values()) <= {0, 1}


def test_the_recipes_run_as_they_stand_and_give_what_they_show(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    names: dict[str, object] = {"__name__": "recipes"}
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs/recipes.md").read_text("utf-8"), re.S | re.M)

    for language, block in blocks:
        if language == "python":  # a file, named in its first line
            (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block, "utf-8")
            continue
        failed = run_python(block, names) if language == "pycon" else run_shell(block, capsys)
        assert failed == 0, capsys.readouterr().out

    assert len(blocks) >= 20
    names["db"].close()


@pytest.mark.parametrize("page", ["dictionary.md", "reference.md", "architecture.svg"])
def test_a_page_is_what_the_code_says_now(page):
    written = runpy.run_path(str(ROOT / "docs/make.py"))["PAGES"][page]()

    assert (ROOT / "docs" / page).read_text("utf-8") == written, "run `make docs`"


def test_the_reference_has_every_public_name():
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/reference.md").read_text("utf-8"), re.M)

    assert headings == foundation.__all__


def test_the_tree_of_the_readme_has_every_room():
    tree = re.search(r"## The tree\n+```\n(.*?)```", README, re.S)[1]

    rooms = {path.parent.name for path in (ROOT / "foundation").glob("*/__init__.py")}

    assert {name for name in rooms if f"  {name}/" not in tree} == set()


def test_every_table_of_the_ledger_is_told_of(tmp_path, data, db):
    ingest(data, db)

    tables = query(db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '_*' AND sql LIKE '%STRICT%'")

    assert {name for name in tables if name.startswith("_") and f"`{name}`" not in RULES} == set()


def test_the_sample_is_made_again_byte_for_byte(tmp_path):
    command = re.search(r"foundation (sample data/sample .*)", (ROOT / "Makefile").read_text("utf-8"))[1]

    assert main([word.replace("data/sample", str(tmp_path / "sample")) for word in command.split()]) == 0

    made = {path.name: path.read_bytes() for path in (tmp_path / "sample").iterdir()}
    assert made == {path.name: path.read_bytes() for path in (ROOT / "data/sample").iterdir()}


def declared() -> set[str]:
    """The packages that pyproject.toml asks for, by name; those for Parquet are a choice of the user's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in ("notebooks", "dev") for name in project["optional-dependencies"][extra]),
    ]
    return {re.match(r"[A-Za-z0-9.-]+", name)[0] for name in wanted}


def test_environment_and_lock_have_every_package_that_is_declared():
    conda = (ROOT / "environment.yml").read_text("utf-8").replace("matplotlib-base", "matplotlib")
    lock = (ROOT / "requirements.lock").read_text("utf-8")

    assert {name for name in declared() if f"  - {name}>=" not in conda} == set()
    assert {name for name in declared() if f"\n{name.replace('.', '-')}==" not in f"\n{lock}"} == set()
    assert "://" not in lock


def test_a_target_of_make_takes_three_lines_at_most():
    recipes = re.findall(r"^[a-z./]+:.*\n((?:\t.*\n)*)", (ROOT / "Makefile").read_text("utf-8"), re.M)

    assert len(recipes) >= 9
    assert max(recipe.count("\n") for recipe in recipes) <= 3
