"""Refusal at the door and the window of streams: properties, and goodput in simulated overload."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import Service, World, fixed

from router.upstream.limit import WINDOW, QueueLimit, QueueRules, Window

chances = st.floats(0, 1, exclude_max=True)


def limit(took: float, rows: int = 1, batch: int = 1, samples: int = 10) -> QueueLimit:
    """A lane whose exchanges all were alike."""
    made = QueueLimit(QueueRules(batch), 0.0)
    for _ in range(samples):
        made.observe(rows, took, False)
    return made


def affine(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
    """2 ms and 50 µs a row: 12,300 rows a second in batches of 64."""
    return 0.002 + 0.00005 * rows, 200


def random_times(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
    """5 ms on average, exponential."""
    return random.expovariate(200), 200


# -- refusals ---------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 100), st.floats(-1, 100), st.floats(0, 1e6), chances)
def test_without_samples_nobody_is_refused(
    ahead: int, rows: int, remaining: float, now: float, chance: float
) -> None:
    assert limit(10.0, samples=9).refuse(ahead, rows, 1, remaining, now, chance) is None


@settings(deadline=None)
@given(st.floats(0, 1000), st.integers(1, 100), st.floats(-1, 100), st.floats(0, 1e6), chances)
def test_an_empty_queue_refuses_nobody(
    took: float, rows: int, remaining: float, now: float, chance: float
) -> None:
    assert limit(took).refuse(0, rows, 1, remaining, now, chance) is None
    assert limit(took).horizon(1) == 0.0


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 1024), st.floats(0, 10), st.booleans()), min_size=10, max_size=100),
    st.integers(1, 4096), st.integers(1, 64), st.integers(0, 8), st.floats(0, 60), st.floats(0, 60), chances,
)  # fmt: skip
def test_a_refusal_says_when_to_return_and_a_longer_deadline_is_never_worse(
    seen: list[tuple[int, float, bool]], ahead: int, rows: int, replicas: int, remaining: float, more: float,
    chance: float,
) -> None:  # fmt: skip
    made = QueueLimit(QueueRules(1024), 0.0)
    for each in seen:
        made.observe(*each)
    assert made.wait(ahead, rows, replicas) >= 0.0
    for now in (0.5, 5.0):
        told = made.refuse(ahead, rows, replicas, remaining, now, chance)
        assert told is None or 1 <= told <= 30
        if told is None:
            assert made.refuse(ahead, rows, replicas, remaining + more, now, chance) is None
            assert made.refuse(ahead, rows, replicas + 1, remaining, now, chance) is None


def test_the_wait_is_that_of_the_exchanges_before() -> None:
    alone = limit(0.010)
    assert alone.wait(0, 1, 1) == pytest.approx(0.015)  # half of one under way, and its own
    assert alone.wait(10, 1, 1) == pytest.approx(0.115)
    assert alone.wait(10, 1, 2) == pytest.approx(0.0625)
    joined = limit(0.010, rows=4, batch=100)
    assert joined.wait(50, 1, 1) == pytest.approx(0.015)  # all of them fit into the next exchange
    assert joined.wait(250, 1, 1) == pytest.approx(0.035)


def test_it_learns_what_a_row_costs() -> None:
    made = QueueLimit(QueueRules(64), 0.0)
    random = Random(3)
    for _ in range(300):
        rows = random.randint(1, 32)
        made.observe(rows, 0.002 + 0.0005 * rows, False)
    assert made.wait(63, 1, 1) - 0.5 * made.took_s == pytest.approx(0.002 + 0.0005 * 64, rel=0.02)


def test_it_learns_that_batches_end_before_their_rows_do() -> None:
    made = QueueLimit(QueueRules(1024), 0.0)
    for _ in range(200):
        made.observe(8, 0.010, True)
    assert made.wait(81, 7, 1) == pytest.approx(0.115, rel=0.02)


def test_a_burst_may_wait_longer_than_a_queue_that_stands() -> None:
    made = limit(0.010)
    made.empty_at = 100.0
    assert made.refuse(69, 1, 1, 1.0, 100.5, 0.0) is None  # 0.705 s of 1 s
    assert made.refuse(85, 1, 1, 1.0, 100.5, 0.0) == 1
    assert made.refuse(69, 1, 1, 1.0, 102.0, 0.0) == 1
    assert made.refuse(40, 1, 1, 1.0, 102.0, 0.0) is None
    assert made.refuse(256, 1, 1, 30.0, 102.0, 0.0) is None  # many patient callers, each with one request
    assert made.refuse(700, 1, 1, 30.0, 100.5, 0.0) is None
    assert made.refuse(700, 1, 1, 30.0, 102.0, 0.5) == 4  # (7.0 s - 5 s) and half of that by chance


def test_nothing_is_sent_that_cannot_be_back_in_time_but_one_alone_is() -> None:
    made = limit(0.010)
    assert made.horizon(2) == pytest.approx(0.010)
    assert made.horizon(1) == 0.0
    assert limit(0.010, samples=9).horizon(2) == 0.0


def test_one_pause_does_not_close_the_door() -> None:
    made = limit(0.010)
    made.observe(1, 60.0, False)
    assert made.refuse(10, 1, 1, 1.0, 0.5, 0.0) is None


# -- overload ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "batch", "capacity", "seconds"),
    [(fixed(0.005), 1, 200.0, 15.0), (random_times, 1, 200.0, 15.0), (affine, 64, 12_300.0, 1.5)],
    ids=["fixed", "random", "batches"],
)
@pytest.mark.parametrize("deadline", [0.1, 1.0])
def test_goodput_is_flat_past_saturation(
    service: Service, batch: int, capacity: float, seconds: float, deadline: float
) -> None:
    goodput = {}
    for load in (0.5, 1.0, 2.0, 4.0):
        world = World(service, batch=batch).run(load * capacity, seconds, deadline)
        goodput[load] = sum(1 for _ in world.good()) / seconds / capacity
        assert world.latency(0.99) <= deadline
        assert world.share_of(504) <= 0.05  # who is not served hears it at once
        refused = [call.ended - call.born for call in world.calls if call.status == 503]
        assert max(refused, default=0.0) == 0.0
        assert world.longest <= 2048
    assert goodput[0.5] == pytest.approx(0.5, rel=0.08)
    assert goodput[2.0] >= 0.9 * max(goodput.values())
    assert goodput[4.0] >= 0.9 * max(goodput.values())


def test_without_the_limit_goodput_collapses() -> None:
    """The simulation can tell: a queue as long as the deadline answers too late."""
    world = World(fixed(0.005), limited=False).run(400, 15.0, 1.0)
    assert sum(1 for _ in world.good()) / 15.0 / 200 < 0.7


def test_a_queue_that_stands_does_not_grow_to_the_deadline() -> None:
    world = World(fixed(0.005)).run(400, 60.0, 30.0)
    assert world.latency(0.99, after=20.0) < 5.2
    assert sum(1 for _ in world.good()) / 60.0 > 200


def test_it_follows_a_service_that_slows_down_and_recovers() -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (0.05 if 5.0 < now < 10.0 else 0.005), 200

    world = World(service).run(150, 20.0, 0.5)
    slow = [call for call in world.good() if 6.0 < call.born < 10.0]
    assert len(slow) >= 0.9 * 4 * 20
    late = [call for call in world.calls if call.born > 11.0]
    assert sum(call.status == 200 for call in late) > 0.98 * len(late)


def test_two_replicas_serve_twice_as_many() -> None:
    world = World(fixed(0.005), replicas=2).run(800, 15.0, 0.2)
    assert sum(1 for _ in world.good()) / 15.0 >= 0.95 * 400


# -- streams ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2000), st.floats(0, 2), st.floats(0, 3)), max_size=300)
)
def test_a_window_stays_within_its_bounds(steps: list[tuple[bool, int, float, float]]) -> None:
    window, now = Window(), 0.0
    for good, busy, took, passed in steps:
        now += passed
        if good:
            window.answered(busy, took, 1.0, now)
        else:
            window.refused(now)
        assert WINDOW.least <= window.size <= WINDOW.most
        assert window.admits(0)
        assert not window.admits(WINDOW.most)


def test_a_window_grows_only_while_it_is_used() -> None:
    window = Window()
    for _ in range(1000):
        window.answered(1, 0.01, 1.0, 0.0)
    assert window.size == WINDOW.first
    for _ in range(1000):
        window.answered(40, 0.01, 1.0, 0.0)
    assert window.size > WINDOW.first


def test_what_was_under_way_shrinks_a_window_once() -> None:
    window = Window()
    for _ in range(50):
        window.refused(10.0)
    assert window.size == pytest.approx(WINDOW.first * WINDOW.keep)
    window.refused(11.0)
    assert window.size == pytest.approx(WINDOW.first * WINDOW.keep**2)


def test_a_window_finds_what_a_service_bears() -> None:
    """A service with `capacity` places answers 503 beyond them: the window swings around that number."""
    window, now, sizes = Window(), 0.0, []
    for _ in range(4000):
        busy = int(window.size)
        for number in range(busy):
            if number < 30:
                window.answered(busy, 0.01, 1.0, now)
            else:
                window.refused(now)
        now += 0.05
        sizes.append(window.size)
    settled = sizes[1000:]
    assert min(settled) >= 20
    assert 20 <= sum(settled) / len(settled) <= 45
