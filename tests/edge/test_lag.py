"""The loop's lateness: what is measured, from where on work is refused, and that it ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.edge.lag import RULES, Lag


def ticks(lag: Lag, now: float, *lates: float) -> float:
    """Wakes up so much too late each time; gives the time after it."""
    for late in lates:
        now += RULES.every_s + late
        lag.tick(now)
    return now


def test_a_punctual_loop_refuses_nobody() -> None:
    lag = Lag(10.0)
    now = ticks(lag, 10.0, *[0.001] * 100)
    assert lag.share == 0.0
    assert not lag.sheds(0.0)
    assert lag.mean == pytest.approx(0.001)
    assert lag.peak(now) == pytest.approx(0.001)


def test_one_pause_is_seen_and_refuses_nobody() -> None:
    lag = Lag(0.0)
    now = ticks(lag, 0.0, *[0.0] * 10, 5.0, 0.0)
    assert lag.share == 0.0
    assert lag.peak(now) == pytest.approx(5.0)
    now = ticks(lag, now, *[0.0] * 25)
    assert lag.peak(now) == pytest.approx(0.0, abs=1e-9)  # of the last second only


def test_a_wake_up_that_is_due_counts_already() -> None:
    assert Lag(0.0).peak(RULES.every_s + 3.0) == pytest.approx(3.0)


def test_steady_lateness_refuses_more_and_more_until_it_is_over() -> None:
    lag = Lag(0.0)
    shares = []
    now = 0.0
    for _ in range(10):
        now = ticks(lag, now, 0.3)
        shares.append(lag.share)
    assert shares[:2] == [0.0, 0.0]
    assert shares[2] == pytest.approx(RULES.rise)
    assert shares[-1] == RULES.most
    assert lag.sheds(0.94)
    assert not lag.sheds(0.96)  # somebody gets through
    ticks(lag, now, *[0.15] * 20)
    assert lag.share == RULES.most  # between the thresholds: as it is
    ticks(lag, now, *[0.0] * 19)
    assert lag.share == pytest.approx(0.0, abs=1e-9)


def test_lateness_between_the_thresholds_begins_nothing() -> None:
    lag = Lag(0.0)
    ticks(lag, 0.0, *[0.2] * 100)
    assert lag.share == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(-0.05, 20), max_size=200))
def test_share_and_memory_stay_within_bounds(lates: list[float]) -> None:
    lag = Lag(0.0)
    now = 0.0
    for late in lates:
        now = ticks(lag, now, late)
        assert 0.0 <= lag.share <= RULES.most
        assert lag.mean >= 0.0
        assert lag.peak(now) >= 0.0
    assert len(lag._recent) <= 21


def test_a_loop_under_twice_its_load_settles() -> None:
    """Each turn works off what came: too much makes the next wake-up late, refusing is nearly free."""
    lag, now, late, lates = Lag(0.0), 0.0, 0.0, []
    backlog = 0.0
    for _ in range(600):
        span = RULES.every_s + late
        backlog += 2.0 * (1.0 - lag.share) * span  # seconds of work that came in this time
        backlog = max(backlog - span, 0.0)
        late = min(backlog, 1.0)
        now += RULES.every_s + late
        lag.tick(now)
        lates.append(late)
    assert max(lates[100:]) < 1.0
    assert sum(lates[100:]) / len(lates[100:]) < RULES.enter_s
    assert 0.0 < lag.share < RULES.most
