"""The transitions of contracts.md: single cases, properties, and a stateful machine against a plain model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from router.documents import Route
from router.errors import BadInput, Conflict
from router.route.buckets import BUCKETS
from router.route.transition import fall_back, promote, rollback, split

VERSIONS = ["1", "2", "3", "blue"]


def whole(route: Route) -> dict[str, int]:
    """Buckets by version; fails where the ranges leave a gap."""
    sizes: dict[str, int] = {}
    end = 0
    for start, stop, version in route.ranges:
        assert start == end
        sizes[version] = sizes.get(version, 0) + stop - start
        end = stop
    assert end == BUCKETS
    return sizes


def owners(route: Route) -> list[str]:
    """The owner of every bucket."""
    return [version for start, stop, version in route.ranges for _ in range(start, stop)]


@st.composite
def weightings(draw: st.DrawFn) -> dict[str, float]:
    names = draw(st.lists(st.sampled_from(VERSIONS), min_size=1, unique=True))
    cuts = draw(st.lists(st.integers(0, BUCKETS), min_size=len(names) - 1, max_size=len(names) - 1))
    edges = [0, *sorted(cuts), BUCKETS]
    return {name: (edges[i + 1] - edges[i]) / 100 for i, name in enumerate(names)}


def test_the_first_promotion_makes_a_route() -> None:
    assert promote(None, "digits", "1") == Route(model="digits", active="1")


def test_a_promotion_keeps_the_way_back_and_ends_a_split() -> None:
    route = Route(model="m", active="1", previous="0", weights={"1": 90.0, "2": 10.0}, salt="s")
    after = promote(route, "m", "2")
    assert after is not None
    assert (after.active, after.previous, after.weights, after.ranges) == ("2", "1", None, ())


def test_promoting_the_sole_active_version_changes_nothing() -> None:
    assert promote(Route(model="m", active="1", previous="0"), "m", "1") is None


def test_promoting_the_active_version_of_a_split_ends_it_and_keeps_previous() -> None:
    route = Route(model="m", active="1", previous="0", weights={"1": 90.0, "2": 10.0})
    after = promote(route, "m", "1")
    assert after is not None
    assert (after.active, after.previous, after.weights, after.ranges) == ("1", "0", None, ())


def test_a_second_rollback_in_a_hurry_does_not_toggle_back() -> None:
    first = rollback(Route(model="m", active="2", previous="1"))
    assert (first.active, first.previous) == ("1", None)
    with pytest.raises(Conflict) as caught:
        rollback(first)
    assert caught.value.code == "no_previous"
    assert "--to" in caught.value.message


def test_a_rollback_without_previous_says_how_to_end_the_split() -> None:
    with pytest.raises(Conflict, match=r"split m 1=100"):
        rollback(Route(model="m", active="1", weights={"1": 90.0, "2": 10.0}))


def test_a_rollback_to_a_named_version_has_no_way_back_either() -> None:
    after = rollback(Route(model="m", active="3", previous="2", weights={"3": 50.0, "2": 50.0}), "1")
    assert (after.active, after.previous, after.weights) == ("1", None, None)


@pytest.mark.parametrize("route", [None, Route(model="m")])
def test_nothing_active_can_be_neither_split_nor_rolled_back(route: Route | None) -> None:
    for attempt in (lambda: split(route, {"1": 100}, "s"), lambda: rollback(route, "1")):
        with pytest.raises(Conflict) as caught:
            attempt()
        assert caught.value.code == "no_active_version"


@pytest.mark.parametrize(
    ("weights", "field"),
    [
        ({}, "weights"),
        ({"1": 90, "2": 9}, "weights"),
        ({"1": 90, "2": 11}, "weights"),
        ({"1": 101, "2": -1}, "weights.1"),
        ({"1": 50, "2": 50.001, "3": -0.001}, "weights.2"),
        ({"1": 99.999, "2": 0.001}, "weights.1"),
        ({"1": float("nan"), "2": 50}, "weights.1"),
        ({"1": float("inf")}, "weights.1"),
        ({"1": True, "2": 99}, "weights.1"),
    ],
)
def test_weights_that_are_none(weights: dict[str, float], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        split(Route(model="m", active="1"), weights, "s")
    assert (caught.value.code, caught.value.field) == ("bad_weights", field)


def test_a_zero_leaves_its_version_out() -> None:
    after = split(Route(model="m", active="1"), {"1": 70, "2": 30, "3": 0}, "s")
    assert after is not None
    assert after.weights == {"1": 70.0, "2": 30.0}


def test_everything_on_another_version_keeps_active() -> None:
    after = split(Route(model="m", active="1"), {"2": 100}, "s")
    assert after is not None
    assert (after.active, after.weights, after.ranges) == ("1", {"2": 100.0}, ((0, BUCKETS, "2"),))


def test_everything_on_active_ends_the_split_or_changes_nothing() -> None:
    running = split(Route(model="m", active="1"), {"1": 70, "2": 30}, "s")
    ended = split(running, {"1": 100, "2": 0}, "t")
    assert ended is not None
    assert (ended.weights, ended.ranges) == (None, ())
    assert split(ended, {"1": 100}, "t") is None


def test_the_same_split_again_changes_nothing() -> None:
    running = split(Route(model="m", active="1"), {"1": 70, "2": 30}, "s")
    assert split(running, {"2": 30, "1": 70, "3": 0}, "t") is None


def test_a_salt_is_taken_only_where_no_split_was_running() -> None:
    running = split(Route(model="m", active="1"), {"1": 70, "2": 30}, "first")
    wider = split(running, {"1": 60, "2": 40}, "second")
    assert running is not None
    assert wider is not None
    assert (running.salt, wider.salt) == ("first", "first")
    ended = promote(wider, "m", "1")
    again = split(ended, {"1": 70, "2": 30}, "third")
    assert again is not None
    assert again.salt == "third"


def test_exactly_the_due_tenth_moves() -> None:
    before = split(Route(model="m", active="1"), {"1": 80, "2": 10, "3": 10}, "s")
    assert before is not None
    after = split(before, {"1": 70, "2": 10, "3": 20}, "t")
    assert after is not None
    moved = [(a, b) for a, b in zip(owners(before), owners(after), strict=True) if a != b]
    assert len(moved) == BUCKETS // 10
    assert set(moved) == {("1", "3")}


@given(weightings(), weightings())
def test_a_split_moves_only_what_the_losers_lose(first: dict[str, float], second: dict[str, float]) -> None:
    before = split(Route(model="m", active="1"), first, "s")
    if before is None or before.weights is None:
        return
    after = split(before, second, "t")
    if after is None or after.weights is None:
        return
    old, new = whole(before), whole(after)
    lost = sum(max(0, old[version] - new.get(version, 0)) for version in old)
    moved = sum(a != b for a, b in zip(owners(before), owners(after), strict=True))
    assert moved == lost
    assert new == {version: round(weight * 100) for version, weight in after.weights.items()}


class Transitions(RuleBasedStateMachine):
    """Any order of changes, held against what contracts.md says in plain variables."""

    def __init__(self) -> None:
        super().__init__()
        self.route: Route | None = None
        self.active: str | None = None
        self.previous: str | None = None
        self.weights: dict[str, float] | None = None
        self.salts = 0
        self.kept = Route(
            model="m",
            rules=({"name": "eu", "when": "true", "to": "1"},),
            aliases={"champion": "1"},
            limits={"rps": 5},
            sticky_key="header:x-user",
        )

    def take(self, after: Route | None) -> None:
        if after is not None:
            self.route = after

    @rule(version=st.sampled_from(VERSIONS))
    def promote(self, version: str) -> None:
        start = self.kept if self.route is None else self.route
        after = promote(start, "m", version)
        assert (after is None) == (self.active == version and self.weights is None)
        if version != self.active:
            self.active, self.previous = version, self.active
        self.weights = None
        self.take(after)

    @precondition(lambda self: self.active is not None)
    @rule(to=st.one_of(st.none(), st.sampled_from(VERSIONS)))
    def rollback(self, to: str | None) -> None:
        target = to or self.previous
        if target is None:
            with pytest.raises(Conflict):
                rollback(self.route, to)
            return
        self.take(rollback(self.route, to))
        self.active, self.previous, self.weights = target, None, None

    @precondition(lambda self: self.active is not None)
    @rule(weights=weightings())
    def split(self, weights: dict[str, float]) -> None:
        assert self.route is not None
        wanted: dict[str, float] | None = {name: w for name, w in weights.items() if w}
        if wanted == {self.active: 100.0}:
            wanted = None
        self.salts += 1
        old_salt = self.route.salt
        after = split(self.route, weights, str(self.salts))
        assert (after is None) == (wanted == self.weights)
        fresh = self.weights is None and wanted is not None
        if after is not None:
            assert after.salt == (str(self.salts) if fresh else old_salt)
        self.weights = wanted
        self.take(after)

    @invariant()
    def route_is_what_was_asked_for(self) -> None:
        if self.route is None:
            return
        assert (self.route.active, self.route.previous) == (self.active, self.previous)
        assert self.route.weights == self.weights
        if self.weights is None:
            assert self.route.ranges == ()
        else:
            assert whole(self.route) == {name: round(w * 100) for name, w in self.weights.items()}

    @invariant()
    def everything_else_is_kept(self) -> None:
        if self.route is not None:
            for name in ("rules", "aliases", "limits", "sticky_key"):
                assert getattr(self.route, name) == getattr(self.kept, name)


TestTransitions = Transitions.TestCase
TestTransitions.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.sampled_from(["auto", "none", "2"]), st.sampled_from(["auto", "none", "2"]))
def test_a_fallback_changes_nothing_else(before: str, to: str) -> None:
    route = Route(model="m", active="1", previous="0", weights=None, fallback=before)
    after = fall_back(route, to)
    assert after == (None if before == to else replace(route, fallback=to))
    with pytest.raises(Conflict) as refused:
        fall_back(Route(model="m"), to)
    assert refused.value.code == "no_active_version"
