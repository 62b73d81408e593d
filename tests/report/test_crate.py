"""The manifest of a run: what the profile demands of it, and that its digests are those of what it names."""

import hashlib
import json
import platform
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import foundation
from foundation.errors import ReportError
from foundation.report.provenance.crate import NAME, read_manifest
from foundation.report.provenance.inputs import commit, digest_of
from foundation.stats.overview import content
from tests.support.deliveries import STORED
from tests.support.loading import ingest

ROOT = Path(__file__).parents[2]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
Graph = dict[str, dict[str, Any]]


@pytest.fixture
def crate(made) -> Graph:
    """The entities of its manifest by their @id."""
    entities = json.loads((made / NAME).read_text("utf-8"))["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities), "an @id stands for two entities"
    return {entity["@id"]: entity for entity in entities}


def references(value: Any) -> list[str]:
    """The @ids that the value of a property refers to."""
    values = value if isinstance(value, list) else [value]
    return [one["@id"] for one in values if isinstance(one, dict)]


def actions(crate: Graph) -> list[dict[str, Any]]:
    return [entity for entity in crate.values() if entity["@type"] == "CreateAction"]


def test_the_document_is_flat_json_ld(made, crate):
    context = json.loads((made / NAME).read_text("utf-8"))["@context"]

    assert context == ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
    for entity in crate.values():
        assert entity["@id"]
        assert entity["@type"]
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                assert not isinstance(one, list)
                assert not isinstance(one, dict) or set(one) == {"@id"}, entity["@id"]


def test_the_descriptor_is_about_the_root(crate):
    descriptor = crate["ro-crate-metadata.json"]

    assert descriptor["@type"] == "CreativeWork"
    assert references(descriptor["conformsTo"]) == ["https://w3id.org/ro/crate/1.1"]
    assert references(descriptor["about"]) == ["./"]


def test_the_root_has_what_it_must(crate):
    root = crate["./"]

    assert root["@type"] == "Dataset"
    assert root["name"]
    assert root["description"]
    assert root["datePublished"][:4].isdigit()
    assert crate[references(root["license"])[0]]["name"]
    assert references(root["conformsTo"]) == [PROFILE]
    assert crate[PROFILE]["@type"] == "CreativeWork"


def test_every_reference_leads_to_an_entity(crate):
    for entity in crate.values():
        for name, value in entity.items():
            for id_ in references(value):
                assert id_ in crate or (entity["@id"], name) == ("ro-crate-metadata.json", "conformsTo"), id_


def test_every_file_is_a_part_of_the_root_and_is_there(made, crate):
    files = {id_ for id_, entity in crate.items() if entity["@type"] == "File"}

    assert set(references(crate["./"]["hasPart"])) == files
    written = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()} - {NAME}
    assert {id_ for id_ in files if ":" not in id_} == written


def test_every_action_was_done_by_a_tool_and_is_mentioned(made, crate):
    tools = {"SoftwareApplication", "SoftwareSourceCode"}

    assert len(actions(crate)) == 1 + 10
    for action in actions(crate):
        (tool,) = references(action["instrument"])
        assert crate[tool]["@type"] in tools
        assert crate[tool]["name"]
        assert action["startTime"] <= action["endTime"]
        assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
        assert "error" not in action
        assert action["object"]
        assert action["result"]
    assert references(crate["./"]["mentions"]) == [action["@id"] for action in actions(crate)]


def test_tools_have_one_version_only(crate):
    tools = [entity for entity in crate.values() if entity["@type"] == "SoftwareApplication"]

    assert {"foundation", "python", "sqlite", "pandas", "papermill"} <= {tool["name"] for tool in tools}
    assert all(tool["softwareVersion"] and "version" not in tool for tool in tools)
    assert crate["#version/python"]["softwareVersion"] == platform.python_version()
    assert crate["#version/sqlite"]["softwareVersion"] == sqlite3.sqlite_version


def test_digests_and_sizes_are_those_of_the_files(made, crate):
    inputs = {path.absolute().as_uri(): path for path in (made.parents[1] / "data").glob("*.csv")}
    own = {path.relative_to(made).as_posix(): path for path in made.rglob("*") if path.is_file()}
    notebooks = {f"#notebook/{path.stem}": path for path in (ROOT / "notebooks").glob("0[123]*.ipynb")}
    code = {
        f"#code/{path.relative_to(ROOT / 'foundation').as_posix()}": path
        for path in (ROOT / "foundation").rglob("*.py")
    }
    digested = {id_: entity for id_, entity in crate.items() if "sha256" in entity}

    assert len([id_ for id_ in digested if id_ in inputs]) == 8
    assert notebooks.keys() | code.keys() <= digested.keys()
    for id_, entity in digested.items():
        if path := (inputs | own | notebooks | code).get(id_):
            assert entity["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), id_
            assert entity["contentSize"] == str(path.stat().st_size)


def test_parameters_and_machine_are_told(made, crate):
    given = {id_.removeprefix("#parameter/"): e["value"] for id_, e in crate.items() if id_.startswith("#parameter/")}

    assert given["chunk_size"] == 1_000
    assert given["only"].split(",") == [source.name for source in foundation.SOURCES]
    assert given["data"] == str(made.parents[1] / "data")
    assert platform.machine() in crate["#machine"]["value"]


def test_what_came_of_the_loads_is_told(made, crate):
    with foundation.open(made.parents[1] / "x.db") as database:
        digests = content(database)
        loads = database.rows("SELECT source, read, rejected FROM _loads WHERE kind = 'file'").fetchall()

    assert {f"#content/{table}": digest for table, digest in digests.items()}.items() <= {
        id_: entity.get("value") for id_, entity in crate.items()
    }.items()
    for source, read, rejected in loads:
        assert (crate[f"#load/{source}.read"]["value"], crate[f"#load/{source}.rejected"]["value"]) == (read, rejected)


def test_the_index_leads_to_it(made):
    assert f'href="{NAME}"' in (made / "index.html").read_text("utf-8")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"@graph": [{}]}', '{"@graph": [{"@id": "x", "@type": "y"}]}'])
def test_what_is_no_manifest_is_told(tmp_path, text):
    (tmp_path / NAME).write_text(text)

    with pytest.raises(ReportError, match="not a manifest that foundation wrote"):
        read_manifest(tmp_path)


def digests_of(db: Path) -> dict[str, str]:
    with foundation.open(db) as database:
        return content(database)


def test_content_does_not_depend_on_how_it_came_about(tmp_path, faulty_data):
    for name, chunk_size in {"a": 1_000, "b": 1, "c": 3}.items():
        ingest(faulty_data, tmp_path / f"{name}.db", chunk_size=chunk_size)
    ingest(faulty_data, tmp_path / "c.db", again=True)

    a, b, c = (digests_of(tmp_path / f"{name}.db") for name in "abc")

    assert a == b == c
    assert a.keys() == STORED.keys()
    assert len(set(a.values())) == len(a)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET amount = amount + 1e-9 WHERE order_id = 3",
        "UPDATE orders SET failure_reason = '' WHERE order_id = 2",
        "UPDATE orders SET customer_name = customer_name || ' ' WHERE order_id = 1",
        "UPDATE orders SET order_id = 7 WHERE order_id = 6",
        "DELETE FROM orders WHERE order_id = 6",
    ],
)
def test_any_change_of_a_row_changes_the_content_of_its_table_alone(data, db, change):
    ingest(data, db)
    before = digests_of(db)
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute(change)

    after = digests_of(db)

    assert {name for name in before if before[name] != after[name]} == {"orders"}


def test_where_a_row_came_from_is_no_content(data, db):
    ingest(data, db)
    before = digests_of(db)
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute("UPDATE orders SET _load = 99, _record = 99")

    assert digests_of(db) == before


def test_the_commit_is_read_without_git(tmp_path):
    head = "0123456789" * 4
    assert commit(tmp_path / ".git") is None
    (tmp_path / "refs/heads").mkdir(parents=True)
    (tmp_path / "HEAD").write_text(f"{head}\n")
    assert commit(tmp_path) == head
    (tmp_path / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit(tmp_path) is None
    (tmp_path / "packed-refs").write_text(f"# pack-refs\n{head} refs/heads/main\n")
    assert commit(tmp_path) == head
    (tmp_path / "refs/heads/main").write_text("9" * 40 + "\n")
    assert commit(tmp_path) == "9" * 40


def test_what_is_no_regular_file_is_not_digested(tmp_path):
    (tmp_path / "zero").symlink_to("/dev/zero")

    assert digest_of(tmp_path / "zero") is None
    assert digest_of(tmp_path) is None
    assert digest_of(tmp_path / "absent") is None
