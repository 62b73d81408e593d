"""The environment against what is asked of it."""

import pytest

from foundation.cli import main
from foundation.cli.doctor import Finding, examine


@pytest.fixture
def root(tmp_path):
    (tmp_path / "environment.yml").write_text("dependencies:\n  - python>=3.11\n  - pip\n  - matplotlib-base>=3.10\n")
    lock = "rich==0.1 \\\n    --hash=sha256:00\nappnope==1 ; sys_platform == 'darwin' \\\n    --hash=sha256:00\n"
    (tmp_path / "requirements.lock").write_text(lock)
    return tmp_path


def found(root, what: str) -> Finding:
    return next(finding for finding in examine(root) if finding.what.startswith(what))


def test_what_fits_is_well(root):
    assert found(root, "python (environment.yml)").is_well
    assert found(root, "matplotlib-base (environment.yml)").is_well
    assert found(root, "SQLite").is_well
    assert found(root, "SQLite: STRICT").is_well
    assert found(root, "SQLite: foreign keys").is_well
    assert found(root, "kernel python3").is_well


def test_another_version_than_the_locked_one_is_told(root):
    assert found(root, "rich (requirements.lock)")[:2] == ("rich (requirements.lock)", "==0.1")
    assert not found(root, "rich (requirements.lock)").is_well


def test_what_is_pinned_for_another_machine_is_not_missed(root):
    assert not [finding for finding in examine(root) if finding.what.startswith("appnope")]


def test_a_package_that_is_too_old_or_missing_is_told(root):
    (root / "environment.yml").write_text("dependencies:\n  - rich>=999\n  - no-such-package>=1\n  - python>=3.999\n")

    assert [found(root, name).is_well for name in ("rich (env", "no-such-package", "python (env")] == [False] * 3
    assert found(root, "no-such-package").found == "none"


@pytest.mark.parametrize(
    ("asked", "is_well"),
    [
        ("rich~=999.0", False),
        ("rich>=1,<999", True),
        ("rich>=999a1", False),
        ("rich!=1.5", True),
        ("rich>0.dev1", True),
    ],
)
def test_what_is_asked_for_is_read_as_pip_reads_it(root, asked, is_well):
    (root / "environment.yml").write_text(f"dependencies:\n  - pip:\n      - {asked}  # why\n      - -e .\n")

    assert found(root, "rich (environment.yml)").is_well is is_well


def test_a_pin_for_another_machine_is_none_for_this_one(root):
    (root / "requirements.lock").write_text("rich==0.1 ; sys_platform == 'none'\nrich==0.2 ; sys_platform != 'none'\n")

    assert [finding.wanted for finding in examine(root) if finding.what.startswith("rich")] == ["==0.2"]


def test_files_that_are_not_there_are_told_in_words(tmp_path):
    assert "run from a checkout" in found(tmp_path, "environment.yml").found
    assert not found(tmp_path, "requirements.lock").is_well


def test_the_status_says_whether_all_is_well(capsys):
    status = main(["doctor"])

    told = capsys.readouterr().out
    assert status == int(" NO " in told)
    assert "requirements.lock" in told
