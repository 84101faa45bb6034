"""Buckets: exact shares, and only the difference moves."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.route.buckets import BUCKETS, Ranges, bucket_of, reassign

VERSIONS = ["1", "2", "3", "canary"]


@st.composite
def weights(draw: st.DrawFn) -> dict[str, float]:
    """Percentages in steps of 0.01 that sum to 100."""
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), max_size=3)))
    edges = [0, *cuts, BUCKETS]
    names = draw(st.permutations(VERSIONS))
    sizes = [end - start for start, end in pairwise(edges)]
    return {name: size / 100 for name, size in zip(names, sizes, strict=False) if size}


def owners(ranges: Ranges) -> list[str]:
    """The owner of every bucket; fails on gaps and overlaps."""
    out: list[str] = []
    for start, end, version in ranges:
        assert start == len(out)
        assert end > start
        out += [version] * (end - start)
    assert len(out) == BUCKETS
    return out


@given(st.lists(weights(), min_size=1, max_size=5))
def test_every_step_moves_exactly_what_is_due(steps: list[dict[str, float]]) -> None:
    ranges: Ranges = ((0, BUCKETS, "1"),)
    before = owners(ranges)
    for step in steps:
        ranges = reassign(ranges, step)
        after = owners(ranges)
        sizes = {version: after.count(version) for version in step}
        assert sizes == {version: round(weight * 100) for version, weight in step.items()}
        moved = sum(old != new for old, new in zip(before, after, strict=True))
        due = sum(max(after.count(name) - before.count(name), 0) for name in VERSIONS)
        assert moved == due
        before = after


def test_a_tenth_from_eighty_to_twenty() -> None:
    start = reassign(((0, BUCKETS, "1"),), {"1": 80, "2": 10, "3": 10})
    end = reassign(start, {"1": 70, "2": 10, "3": 20})
    changed = [(old, new) for old, new in zip(owners(start), owners(end), strict=True) if old != new]
    assert changed == [("1", "3")] * 1000


@pytest.mark.parametrize("bad", [{"1": 99.0}, {"1": 101.0}, {"1": 110, "2": -10}, {}, {"1": 50, "2": 49.99}])
def test_weights_that_are_no_whole_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sum to 100"):
        reassign(((0, BUCKETS, "1"),), bad)


def test_keys_spread_evenly_and_by_salt() -> None:
    keys = [f"user-{number}".encode() for number in range(20_000)]
    low = sum(bucket_of(key, b"salt") < 1000 for key in keys) / len(keys)
    assert 0.09 < low < 0.11
    both = sum(bucket_of(key, b"salt") < 1000 and bucket_of(key, b"other") < 1000 for key in keys)
    assert both / len(keys) < 0.02  # another salt chooses other people
