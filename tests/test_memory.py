import gc

import psutil
import pytest

from foundation.memory import Memory, gc_frozen, parse_bytes

MB = 10**6


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000000", 10**6), ("1", 1), ("500MB", 500 * MB), ("500 mb", 500 * MB), (" 1.5 GiB ", 3 * 2**29),
        ("1kB", 1_000), ("1KiB", 1_024), ("2MiB", 2**21), ("0.25gb", 250 * MB), ("1.13kb", 1_130), ("2.0", 2),
        (".5GB", 500 * MB), ("5TB", 5 * 10**12),
    ],
)  # fmt: skip
def test_a_size_is_read_with_its_unit(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    ["", " ", "MB", "0", "0MB", "0.0001kB", "-5MB", "+5MB", "5 parsecs", "1e9", "1_000", "1,5GB", "1.2.3",
     "nan", "inf", "٥MB", "5MB\n5MB", "1 2MB"],
)  # fmt: skip
def test_what_is_no_size_is_told_so(text):
    with pytest.raises(ValueError, match="is no size; write it like 500MB or 1GiB"):
        parse_bytes(text)


def test_a_sample_is_the_resident_memory_of_this_process():
    assert Memory(limit=1).sample() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


def test_the_peak_stays_when_memory_is_given_back():
    memory = Memory(limit=1)
    before = memory.peak
    block = b"x" * 64 * MB
    during = memory.sample()
    del block

    after = memory.sample()

    assert during - before > 60 * MB
    assert (memory.peak, during - after > 60 * MB) == (during, True)


@pytest.mark.parametrize(
    ("share", "is_tight", "is_spent"),
    [(2, False, False), (1.2, False, False), (1.05, True, False), (0.9, True, True), (0.1, True, True)],
)
def test_a_budget_is_tight_above_nine_tenths_and_then_spent(share, is_tight, is_spent):
    memory = Memory(limit=round(share * psutil.Process().memory_info().rss))

    assert (memory.is_tight(), memory.is_spent()) == (is_tight, is_spent)


def test_what_another_one_put_aside_stays_there():
    gc.freeze()
    try:
        with gc_frozen():
            pass
        assert gc.get_freeze_count() > 1_000
    finally:
        gc.unfreeze()
