"""How many refusals are written, and that the others are counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from router.audit.budget import MOST_CALLERS, Budget


def test_a_burst_is_written_and_a_flood_counted() -> None:
    budget = Budget(caller=(3, 60.0), whole=(100, 1.0))
    assert [budget.admit("a", n, 0.0) for n in range(5)] == [0, 0, 0, None, None]
    assert budget.admit("b", 0, 0.0) == 0  # another caller's is not touched
    assert budget.due(30.0) == []
    assert budget.admit("a", 5, 60.0) == 2  # with the two that were counted
    assert budget.admit("a", 6, 61.0) is None
    assert budget.due(120.0) == [(6, 0)]
    assert budget.due(1000.0) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=200))
def test_nothing_is_lost_and_the_bound_holds(attempts: list[tuple[str, float]]) -> None:
    budget, now, written, told = Budget(caller=(2, 60.0), whole=(4, 20.0)), 0.0, 0, 0
    for caller, pause in attempts:
        now += pause
        more = budget.admit(caller, None, now)
        if more is not None:
            written, told = written + 1, told + 1 + more
    assert written <= 4 + now / 20.0 + 1e-6
    for _ in range(10):
        now += 1e6
        told += sum(1 + more for _, more in budget.due(now))
    assert told == len(attempts)


def test_callers_are_forgotten_in_the_end() -> None:
    budget = Budget(whole=(10**6, 1.0))
    for number in range(MOST_CALLERS * 2):
        budget.admit(number, None, 0.0)
    assert len(budget._accounts) == MOST_CALLERS
