"""The corpus of faults: what is damaged is refused for its reason at its place, everything else is stored.

Files that are refused as a whole are met in the tests of the reader. `make soak` takes more seeds.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.support.effort import effort
from tests.support.fault_kinds import KINDS, LARGEST, Draft, Kind
from tests.support.fault_score import MISSES, Faultless, batches, load, make_faultless
from tests.support.faults import CHUNK, PLACES, SOURCES, Fault, build, corpus

ROOT = Path(__file__).parents[2]
SEEDS = range(effort(1, 10, 40))
pytestmark = [pytest.mark.slow, pytest.mark.sweep]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Faultless:
    return make_faultless(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def score() -> Iterator[Counter[str]]:
    """Counts over all tests; said at the end."""
    tally: Counter[str] = Counter()
    yield tally
    print(f"{tally['loads']:,} loads, {tally['cases']:,} cases:", ", ".join(f"{m} {tally[m]}" for m in MISSES))


@pytest.mark.parametrize("seed", SEEDS, ids="seed {}".format)
@pytest.mark.parametrize("chunk_size", [1, CHUNK, 1_000], ids="chunks of {}".format)
def test_every_record_is_refused_for_its_reason_at_its_place_or_stored(clean, tmp_path, score, chunk_size, seed):
    step = 1 if chunk_size == CHUNK else effort(3, 2, 1)
    for batch in islice(batches(clean, seed), 0, None, step):
        assert not load(batch, clean, tmp_path / "data", chunk_size=chunk_size, score=score)


def test_every_kind_of_fault_stands_at_every_place_in_records_of_one_line_and_of_several(clean):
    truths = [truth for files in corpus(clean.rows, 0).values() for file in files for truth in file.truths]
    met = {(truth.kind, truth.place) for truth in truths}

    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 60
    for kind in KINDS:
        for _, place, is_broad in PLACES:
            if is_broad is None:  # in turn
                assert {(kind.name, place), (f"{kind.name}, several lines", place)} & met or kind.is_last
            else:
                assert (f"{kind.name}{', several lines' * is_broad}", place) in met or kind.is_last
    codes = {code for truth in truths for _, code in truth.reasons}
    assert codes >= {
        "invalid_utf8", "nul_byte", "too_few_fields", "too_many_fields", "stray_quote", "unclosed_quote",
        "bare_carriage_return", "missing", "int_parsing", "float_parsing", "datetime_parsing", "literal_error",
        "greater_than", "greater_than_equal", "less_than_equal", "duplicate_key", "orphan", "parent_rejected",
    }  # fmt: skip


@pytest.mark.parametrize("chunk_size", [1, 7, 1_000], ids="chunks of {}".format)
def test_damaged_records_may_stand_side_by_side(clean, tmp_path, score, chunk_size):
    """Those of which the quotes hold: where others end is known only when a sound one follows."""
    source = SOURCES["orders"]
    plain = [k for k in KINDS if k.is_plain and not k.is_last and k.fits(source)]
    faults = {at: Fault(kind, "side by side", at % 2 == 0) for at, kind in enumerate(plain)}
    file = build(source, clean.rows["orders"], faults, size=len(plain))

    assert not load({"orders": file}, clean, tmp_path / "data", chunk_size=chunk_size, score=score)


def test_a_child_waits_for_a_refused_parent_whose_key_can_be_read_and_has_none_otherwise(clean, tmp_path, score):
    source = SOURCES["orders"]
    alone = [k for k in KINDS if not k.is_last and k.fits(source) and "key" not in k.name]
    faults = {3 * at: Fault(kind, "above its child", at % 2 == 0) for at, kind in enumerate(alone)}
    orders = build(source, clean.rows["orders"], faults, size=3 * len(alone) + 1)
    keys = {truth.row[0] for truth in orders.truths if truth.row}
    codes = {}
    for truth in orders.truths:
        found = re.match(rb'("?)([0-9]+)\1(,|\n\Z)', orders.data[truth.start : truth.end])
        codes[truth.record] = "parent_rejected" if found and found[2] == b"%d" % truth.record else "orphan"

    def refer(records: list[Draft], at: int) -> None:
        records[at].put(1, str(at + 1))
        if at + 1 not in keys:
            records[at].refuse(codes[at + 1], 1)

    children = {at: Fault(Kind("refers", "any", refer), "below its parent", False) for at in range(len(orders.truths))}
    feedback = build(SOURCES["feedback"], clean.rows["feedback"], children, size=len(children))

    assert not load({"orders": orders, "feedback": feedback}, clean, tmp_path / "data", chunk_size=7, score=score)


@pytest.mark.parametrize("chunk_size", [1, 7, 1_000], ids="chunks of {}".format)
def test_a_field_may_have_four_mebibytes_and_no_more(clean, tmp_path, score, chunk_size):
    def enlarge(size: int, mark: str) -> Kind:
        def damage(records: list[Draft], at: int) -> None:
            draft = records[at]
            draft.put(draft.pick("text"), "a" * (size - 3) + mark + "bc"[: 3 - len(mark)])
            if size > LARGEST:
                draft.refuse("field_too_large")

        return Kind(f"{size} bytes with {mark!r}", "text", damage)

    sizes = [2_000_000, LARGEST + 1, LARGEST, LARGEST, LARGEST + 1, 2 * LARGEST, LARGEST + 1]
    kinds = [enlarge(size, mark) for size, mark in zip(sizes, 'a\na,",\n', strict=True)]
    places = dict(zip([0, 3, 6, 7, 13, 17, 20], kinds, strict=True))
    faults = {at: Fault(kind, "large", False) for at, kind in places.items()}
    file = build(SOURCES["feedback"], clean.rows["feedback"], faults, size=21)

    assert not load({"feedback": file}, clean, tmp_path / "data", chunk_size=chunk_size, score=score)


@pytest.mark.parametrize(
    ("module", "sound", "broken"),
    [
        ("reader/splitter.py", "(stray := _stray_part(parts, mark)) is not None", "stray := None"),
        ("reader/chunk.py", "self.start.line + first + 1,", "self.start.line + first + 2,"),
        ("reader/recovery.py", "self.is_clean_record(row) if row <= at + matched else", ""),
        ("schema/validator.py", "[text or None for", '[text if text not in ("", "NA") else None for'),
        ("schema/types.py", '"-?[0-9]+"', '".*[0-9].*"'),
        ("store/writer.py", "in self._same_file", "in ()"),
        ("store/rejects.py", "enumerate(errors, 1)", "enumerate(errors[:1], 1)"),
    ],
    ids=["quotes", "lines", "end of damage", "missing values", "numbers", "keys", "reasons"],
)
def test_a_broken_loader_is_found_out(tmp_path, module, sound, broken):
    shutil.copytree(ROOT / "foundation", tmp_path / "foundation", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "foundation" / module
    assert sound in path.read_text("utf-8"), "break it in another way"
    path.write_text(path.read_text("utf-8").replace(sound, broken), encoding="utf-8")

    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.support.fault_score"]
    scored = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert scored.returncode == 1
    assert any(f": {miss}: " in scored.stderr for miss in MISSES) or "records do not add up" in scored.stderr
