"""The choice of a version: pin, active, sticky and split, and every refusal."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.documents import ModelState, Replica, Route, Version
from router.errors import NotFound, PointsmanError, Unavailable
from router.route.buckets import BUCKETS, reassign
from router.route.choice import choose, entry_of
from router.route.table import Entry, Table, build, not_ready


def replica(version: str, state: str = "ready") -> Replica:
    """A replica of `digits`."""
    return Replica(
        id=f"digits-{version}-a",
        model="digits",
        version=version,
        digest="d",
        address=f"unix:/r{version}",
        pid=1,
        node="n",
        state=state,  # type: ignore[arg-type]
        since="",
    )


def entry(
    active: str | None = "1",
    weights: dict[str, float] | None = None,
    running: tuple[str, ...] = ("1", "2"),
    epoch: int = 7,
) -> Entry:
    """`digits` with versions 1, 2 and 3 registered, of which `running` run."""
    ranges = reassign(((0, BUCKETS, active or "1"),), weights) if weights else ()
    route = Route(model="digits", epoch=epoch, active=active, weights=weights, ranges=ranges, salt="s")
    state = ModelState(
        model="digits",
        route=route,
        replicas=tuple(replica(name) for name in running),
        desired=dict.fromkeys(running, 1),
    )
    versions = {name: Version(model="digits", version=name, digest=f"d{name}") for name in running}
    return build(state, versions, frozenset({"1", "2", "3"}))


def test_without_weights_the_active_one_answers() -> None:
    choice = choose(entry(), None, "anybody", 0.99)
    assert (choice.version, choice.reason, choice.epoch) == ("1", "active", 7)
    assert choice.target.version.digest == "d1"


def test_a_pin_wins_over_weights() -> None:
    choice = choose(entry(weights={"1": 100.0}), "2", "key", 0.0)
    assert (choice.version, choice.reason) == ("2", "pin")


@given(st.text(max_size=30))
def test_a_key_always_goes_the_same_way(key: str) -> None:
    split = entry(weights={"1": 50, "2": 50})
    chosen = {choose(split, None, key, random / 10).version for random in range(10)}
    assert len(chosen) == 1
    assert choose(split, None, key, 0.0).reason == "sticky"


def test_ninety_to_ten_over_twenty_thousand_keys() -> None:
    split = entry(weights={"1": 90, "2": 10})
    counts = Counter(choose(split, None, f"user-{number}", 0.5).version for number in range(20_000))
    assert abs(counts["2"] / 20_000 - 0.10) < 0.01


@given(st.floats(0, 1, exclude_max=True))
def test_without_a_key_the_random_number_decides(random: float) -> None:
    choice = choose(entry(weights={"1": 90, "2": 10}), None, None, random)
    assert choice.reason == "split"
    assert choice.version == ("2" if random >= 0.9 else "1")


def test_raising_a_weight_moves_nobody_back() -> None:
    small, large = entry(weights={"1": 90, "2": 10}), entry(weights={"1": 80, "2": 20})
    for number in range(2000):
        if choose(small, None, str(number), 0).version == "2":
            grown = reassign(small.route.ranges, {"1": 80, "2": 20})
            assert grown == large.route.ranges
            assert choose(large, None, str(number), 0).version == "2"


@pytest.mark.parametrize(
    ("pin", "active", "error", "code"),
    [
        ("9", "1", NotFound, "unknown_version"),
        ("3", "1", Unavailable, "not_deployed"),
        (None, None, Unavailable, "no_active_version"),
    ],
)
def test_refusals(pin: str | None, active: str | None, error: type[PointsmanError], code: str) -> None:
    with pytest.raises(error) as caught:
        choose(entry(active=active), pin, None, 0.0)
    assert caught.value.code == code


def test_an_unknown_model() -> None:
    with pytest.raises(NotFound, match="nothing"):
        entry_of(Table(), "nothing")


def test_a_table_changes_only_what_it_is_told() -> None:
    first = Table().with_entries(3, {"digits": entry()})
    second = first.with_entries(4, {"other": entry(active="2")})
    assert first.revision == 3
    assert set(first.entries) == {"digits"}
    assert second.entries["digits"] is first.entries["digits"]


def test_a_route_to_a_cold_version_is_not_ready() -> None:
    before = entry()
    assert not_ready(before, entry(active="2")) is None
    assert "3" in (not_ready(before, entry(active="3")) or "")
    assert "2" in (not_ready(before, entry(active="2", running=("1",))) or "")


def test_losing_a_replica_does_not_hold_back_a_routed_version() -> None:
    assert not_ready(entry(), entry(running=("2",))) is None


def test_only_ready_replicas_get_work() -> None:
    state = ModelState(
        model="digits",
        route=Route(model="digits", active="1"),
        replicas=(replica("1", "starting"), replica("2", "draining")),
        desired={"1": 1},
    )
    versions = {name: Version(model="digits", version=name, digest="d") for name in ("1", "2")}
    built = build(state, versions, frozenset({"1", "2"}))
    assert built.targets["1"].replicas == ()
    assert "2" not in built.targets
