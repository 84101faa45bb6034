"""When a second replica is asked: the quantile against an exact one, and the waits it gives."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import NEVER, World, fixed

from router.upstream.hedge import BUCKETS, RULES, Pace, worth_it

times = st.floats(1e-5, 1000.0)


@settings(deadline=None)
@given(st.lists(times, min_size=1, max_size=400), st.floats(0.01, 1.0))
def test_a_quantile_is_at_most_an_eighth_too_high_and_never_too_low(seen: list[float], part: float) -> None:
    pace = Pace()
    for took in seen:
        pace.observe(took)
    ordered = sorted(seen)
    rank = next(n for n in range(1, len(seen) + 1) if n >= part * len(seen))
    exact = ordered[rank - 1]
    found = pace.quantile(part)
    assert found is not None
    assert exact <= found <= exact * 1.13


@settings(deadline=None)
@given(st.floats(0, 1e9) | st.sampled_from([0.0, 5e-324, 1e308]))
def test_any_time_has_a_bucket(took: float) -> None:
    pace = Pace()
    pace.observe(took)
    assert pace.quantile(1.0) is not None


def test_nothing_known_no_hedge() -> None:
    pace = Pace()
    assert pace.quantile(0.99) is None
    for _ in range(RULES.samples - 1):
        pace.observe(0.001)
        assert pace.after is None
    pace.observe(0.001)
    assert pace.after == RULES.least_s


def test_a_slow_version_is_waited_for_longer() -> None:
    pace = Pace()
    for _ in range(100):
        pace.observe(0.2)
    assert pace.after == pytest.approx(1.0, rel=0.13)


def test_what_is_long_ago_is_forgotten() -> None:
    pace = Pace()
    for _ in range(2000):
        pace.observe(1.0)
    assert pace.after is not None
    assert pace.after >= 5.0
    for _ in range(2 * RULES.generation + 2 * RULES.every):
        pace.observe(0.001)
    assert pace.after == RULES.least_s


def test_memory_is_bounded() -> None:
    pace = Pace()
    random = Random(1)
    for _ in range(5000):
        pace.observe(random.expovariate(1))
    assert len(pace._recent) == len(pace._older) == BUCKETS
    assert sum(pace._recent) + sum(pace._older) <= 2 * (RULES.generation + RULES.every)


@pytest.mark.parametrize(
    ("after", "silent", "remaining", "others", "expected"),
    [
        (0.1, 0.1, 1.0, 1, True),
        (0.1, 0.099, 1.0, 1, False),
        (None, 9.0, 1.0, 1, False),
        (0.1, 0.2, 0.0, 1, False),
        (0.1, 0.2, 1.0, 0, False),
    ],
)
def test_when_it_is_worth_it(
    after: float | None, silent: float, remaining: float, others: int, expected: bool
) -> None:
    assert worth_it(after, silent, remaining, others) is expected


def test_now_and_then_a_hang_is_hedged_and_costs_little() -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (NEVER if now > 2.0 and random.random() < 0.002 else random.expovariate(200), 200)

    hedged = World(service, replicas=4).run(rate=200, seconds=30, deadline=5.0)
    bare = World(service, replicas=4, hedging=False).run(rate=200, seconds=30, deadline=5.0)
    assert bare.share_of(504) > 0.0
    assert hedged.share_of(504) == 0.0
    assert hedged.latency(1.0) < 0.5
    assert hedged.sent < 1.02 * len(hedged.calls)


def test_a_healthy_version_is_not_hedged() -> None:
    world = World(fixed(0.05), replicas=3).run(rate=50, seconds=30, deadline=5.0)
    assert world.budget.spent == 0
