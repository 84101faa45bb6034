"""Ejection, return, slow start and panic: single judgements as properties, then a lane in simulated time."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import NEVER, World, fixed

from router.upstream.health import RULES, Health, panic, slowest

chances = st.floats(0, 1, exclude_max=True)


def measured(latency: float, samples: int = RULES.samples) -> Health:
    """A replica with so many equal exchanges behind it."""
    health = Health()
    for _ in range(samples):
        health.answered(latency, 0.0)
    return health


def ejected(now: float = 0.0) -> Health:
    """A replica that was put out at `now`."""
    health = Health()
    health.eject("test", now, 0.0)
    return health


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=60), chances)
def test_only_errors_in_a_row_eject(outcomes: list[bool], chance: float) -> None:
    health = Health()
    row = 0
    for now, good in enumerate(outcomes):
        if good:
            health.answered(0.01, now)
        else:
            health.failed("502", now, chance)
        row = 0 if good else row + 1
        assert health.out == (row >= RULES.errors)
        if health.out:
            return


def test_a_hedge_that_overtakes_ejects_at_once() -> None:
    health = Health()
    assert health.overtaken(5.0, 0.0)
    assert health.out
    assert health.share(5.5) == 0.0
    assert not health.overtaken(5.1, 0.0)  # once is enough: the time out does not grow by it
    assert health.until == 5.0 + RULES.first_s


@settings(deadline=None)
@given(st.integers(1, 40), chances)
def test_each_failed_trial_doubles_the_time_out_up_to_its_bound(trials: int, chance: float) -> None:
    health = Health()
    now = 100.0
    health.overtaken(now, chance)
    for number in range(trials):
        length = health.until - now
        least = min(RULES.first_s * 2.0**number, RULES.longest_s)
        assert least * 0.999 <= length <= least * (1 + RULES.spread) * 1.001
        assert not health.due(health.until - 0.001)
        now = health.until + 0.001
        assert health.due(now)
        health.attempt()
        assert not health.due(now)  # one trial at a time
        assert health.failed("502", now, chance)  # one error is enough on trial


def test_a_late_answer_of_before_the_ejection_is_no_trial() -> None:
    health = ejected()
    health.answered(0.01, 0.5)
    assert health.out
    health.failed("502", 0.6, 0.0)
    assert health.until == RULES.first_s


def test_a_trial_brings_it_back_with_a_growing_share() -> None:
    health = ejected()
    health.attempt()
    health.answered(0.01, 10.0)
    assert not health.out
    shares = [health.share(10.0 + part * RULES.ramp_s) for part in (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)]
    assert shares == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0, 1.0])
    assert health.full_at == 10.0 + RULES.ramp_s
    assert health.samples == 0


def test_a_trial_without_verdict_may_be_repeated() -> None:
    health = ejected()
    health.attempt()
    assert not health.due(5.0)
    health.undecided()
    assert health.due(5.0)


def test_a_replica_that_behaved_for_long_begins_anew() -> None:
    health = Health()
    for _ in range(5):
        health.eject("test", 0.0, 0.0)
    health.attempt()
    health.answered(0.01, 100.0)
    health.overtaken(100.0 + RULES.longest_s - 1, 0.0)
    assert health.until - (100.0 + RULES.longest_s - 1) > 30
    health.attempt()
    health.answered(0.01, 300.0)
    health.overtaken(301.0 + RULES.longest_s, 0.0)
    assert health.until - (301.0 + RULES.longest_s) == RULES.first_s


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_panic_is_when_fewer_than_half_are_healthy(outs: list[bool]) -> None:
    healths = [ejected() if out else Health() for out in outs]
    assert panic(healths) == (outs.count(False) < len(outs) / 2)


@settings(deadline=None)
@given(st.lists(st.floats(0.0001, 10.0), min_size=1, max_size=8), st.integers(0, 3))
def test_slowness_needs_others_to_compare_and_never_makes_a_panic(latencies: list[float], out: int) -> None:
    healths = [measured(latency) for latency in latencies] + [ejected() for _ in range(out)]
    slow = slowest(healths)
    if slow is None:
        return
    assert len(latencies) >= 3
    assert slow.latency_s == max(health.latency_s for health in healths)
    slow.eject("slow", 0.0, 0.0)
    assert not panic(healths)


def test_the_slow_one_is_found_only_when_far_above_and_measured() -> None:
    usual = [measured(0.02), measured(0.025)]
    assert slowest([*usual, measured(0.08)]) is None  # above, not far
    assert slowest([measured(0.001), measured(0.001), measured(0.03)]) is None  # far, by a few milliseconds
    assert slowest([*usual, measured(0.2, RULES.samples - 1)]) is None
    assert slowest([usual[0], measured(0.2)]) is None  # who of two is right?
    slow = measured(0.2)
    assert slowest([usual[0], slow, usual[1]]) is slow
    assert slowest([usual[0], slow, usual[1], ejected()]) is slow
    assert slowest([usual[0], slow, usual[1], ejected(), ejected()]) is None  # two of five would be a panic


def test_one_pause_makes_nobody_slow() -> None:
    healths = [measured(0.02), measured(0.02), measured(0.02)]
    healths[0].answered(30.0, 0.0)
    assert slowest(healths) is None


# -- a lane of three replicas -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 64])
def test_a_stalled_replica_of_three_is_out_fast_and_comes_back(batch: int) -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (NEVER if place == 0 and 5.0 <= now < 10.0 else 0.005, 200)

    world = World(service, replicas=3, batch=batch).run(rate=300, seconds=30, deadline=30.0)
    first = world.ejected[0]
    assert first[1:] == (0, "overtaken")
    assert 5.0 < first[0] < 5.4
    assert {place for _, place, _ in world.ejected} == {0}
    assert world.share_of(200) == 1.0
    assert world.latency(1.0) < 0.5
    # While it hangs only single trials go there; afterwards it works again, slowly at first.
    assert sum(5.4 < at < 10.0 for at in world.by_place[0]) <= 3
    back = next(at for at in world.by_place[0] if at > 10.0)
    assert back < 15.0
    assert sum(at > back for at in world.by_place[0]) > 500
    begun = sum(back < at < back + 1 for at in world.by_place[0])
    assert begun < 0.75 * sum(back + 6 < at < back + 7 for at in world.by_place[0])


def test_a_slow_replica_of_three_is_found_without_an_error() -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (0.09 if place == 1 else 0.005, 200)

    world = World(service, replicas=3).run(rate=350, seconds=10, deadline=5.0)
    assert world.ejected[0][1:] == (1, "slow")
    assert {place for _, place, _ in world.ejected} == {1}


def test_errors_of_all_replicas_put_none_out_of_use() -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (0.005, 500 if now < 5.0 else 200)

    world = World(service, replicas=3).run(rate=100, seconds=10, deadline=1.0)
    early = [call for call in world.calls if call.born < 4.9]
    assert all(call.status == 500 for call in early)  # their own error, at once: nobody waits in vain
    assert max(call.ended - call.born for call in early) < 0.2
    late = [call for call in world.calls if call.born > 5.1]
    assert sum(call.status == 200 for call in late) > 0.97 * len(late)


def test_two_of_three_hang_and_the_third_goes_on() -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (NEVER if place < 2 and now > 3.0 else 0.005, 200)

    world = World(service, replicas=3).run(rate=100, seconds=20, deadline=2.0)
    assert sum(1 for _ in world.good()) > 0.98 * len(world.calls)


def test_without_faults_nobody_is_ejected() -> None:
    world = World(fixed(0.005), replicas=3).run(rate=500, seconds=10, deadline=1.0)
    assert world.ejected == []
    assert world.sent == len(world.calls)
