"""Whose turn it is: idle, healthy, longest unused; whom a failed batch avoids; and what happens in a panic."""

from hypothesis import given
from hypothesis import strategies as st

from router.documents import Replica
from router.upstream.exchange import Exchange
from router.upstream.health import Health
from router.upstream.seat import Seat
from router.upstream.turn import free

NOW = 100.0


def seat(
    name: str, *, out: bool = False, busy: bool = False, ramp: bool = False, rests: bool = False
) -> Seat:
    """A seat in some state."""
    health = Health(ramp_at=NOW if ramp else None)
    if out:
        health.eject("500", NOW, 0.0)
    document = Replica(
        id=name, model="m", version="1", digest="d", address="unix:/x", pid=1, node="n", state="ready", since=""
    )  # fmt: skip
    made = Seat(document, health)
    made.exchange = Exchange([]) if busy else None
    made.retry_at = NOW + 1 if rests else 0.0
    return made


STATES = st.builds(
    lambda out, busy, ramp, rests: {"out": out, "busy": busy, "ramp": ramp, "rests": rests},
    st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip


@given(st.lists(STATES, min_size=1, max_size=5), st.integers(0, 4), st.floats(0, 0.999))
def test_nobody_busy_or_resting_is_chosen_and_work_is_never_stuck(
    states: list[dict[str, bool]], avoided: int, chance: float
) -> None:
    seats = [seat(str(number), **state) for number, state in enumerate(states)]
    avoid = seats[avoided] if avoided < len(seats) else None
    chosen = free(seats, NOW, avoid, lambda: chance)
    idle = [each for each in seats if each.exchange is None and each.retry_at <= NOW]
    others = [each for each in seats if each is not avoid and each.in_turn(NOW)]
    if chosen is not None:
        assert chosen in idle
        assert chosen is not avoid or not others
        if chosen.health.out:  # only in a panic
            assert 2 * sum(each.in_turn(NOW) for each in seats) < len(seats)
    working = any(each.exchange is not None and each.in_turn(NOW) for each in seats)
    if not working and any(each.in_turn(NOW) for each in idle):
        assert chosen is not None


def test_the_one_that_was_idle_longest_comes_first() -> None:
    first, second, third = seat("a"), seat("b"), seat("c")
    first.sent_at, second.sent_at, third.sent_at = 3.0, 1.0, 2.0
    assert free([first, second, third], NOW, None, lambda: 0.5) is second
    assert free([first, second, third], NOW, second, lambda: 0.5) is third


def test_one_that_begins_takes_a_part_of_the_work() -> None:
    new, old = seat("a", ramp=True), seat("b")
    assert free([new, old], NOW, None, lambda: 0.05) is new
    assert free([new, old], NOW, None, lambda: 0.5) is old
    old.exchange = Exchange([])
    assert free([new, old], NOW, None, lambda: 0.5) is None  # the old one will be free soon
    assert free([new], NOW, None, lambda: 0.5) is new


def test_failed_work_waits_for_another_and_is_not_stuck_where_there_is_none() -> None:
    failed, other = seat("a"), seat("b", busy=True)
    assert free([failed, other], NOW, failed, lambda: 0.5) is None
    other.retry_at = NOW + 1
    assert free([failed, other], NOW, failed, lambda: 0.5) is failed


def test_in_a_panic_those_that_are_out_are_used_too() -> None:
    healthy = seat("a", busy=True)
    outs = [seat("b", out=True), seat("c", out=True)]
    assert free([healthy, *outs], NOW, None, lambda: 0.5) in outs
    assert free([healthy, outs[0]], NOW, None, lambda: 0.5) is None  # half is enough
