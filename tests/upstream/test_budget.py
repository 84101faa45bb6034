"""The account of repeated requests: its bound as a property, and what comes of it where every replica refuses."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import World

from router.upstream.budget import RULES, BudgetRules, RetryBudget

steps = st.lists(
    st.tuples(st.floats(0, 5), st.integers(0, 50), st.integers(1, 64)), min_size=1, max_size=200
)  # (seconds passed, first tries, wanted again)


@settings(deadline=None)
@given(steps)
def test_what_is_repeated_stays_within_its_bound(steps: list[tuple[float, int, int]]) -> None:
    now, earned, largest, spent = 50.0, 0, 0, 0
    budget = RetryBudget(now)
    for passed, first, again in steps:
        now += passed
        budget.earn(first)
        earned += first
        largest = max(largest, again)
        if budget.spend(again, now):
            spent += again
        assert spent <= 1 + RULES.ratio * earned + RULES.floor * (now - 50.0) + largest
        assert budget.balance <= RULES.saved
    assert budget.spent == spent
    assert budget.refused == sum(again for _, _, again in steps) - spent


@settings(deadline=None)
@given(st.integers(1, 1024))
def test_a_good_account_pays_for_any_batch_then_not_until_the_debt_is_paid(size: int) -> None:
    budget = RetryBudget(0.0, BudgetRules(floor=0.0))
    assert budget.spend(size, 0.0)
    assert not budget.spend(1, 0.0)
    budget.earn(10 * size + 1)
    assert budget.spend(1, 0.0)


def test_the_floor_pays_where_there_is_little_traffic() -> None:
    budget = RetryBudget(0.0)
    assert budget.spend(1, 0.0)
    assert not budget.spend(1, 0.5)
    assert budget.spend(1, 1.01)
    assert [budget.spend(1, 3600.0) for _ in range(21)].count(True) == RULES.saved  # not all of the hour's


def test_a_clock_that_stands_or_jumps_back_earns_nothing() -> None:
    budget = RetryBudget(100.0)
    assert budget.spend(1, 100.0)
    assert not budget.spend(1, 40.0)
    assert not budget.spend(1, 100.0)


@pytest.mark.parametrize(("rate", "batch", "replicas"), [(20, 1, 3), (100, 1, 3), (400, 1, 2), (1000, 64, 3)])
def test_amplification_where_every_replica_answers_503(rate: float, batch: int, replicas: int) -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (0.005, 503)

    world = World(service, replicas=replicas, batch=batch).run(rate, seconds=20, deadline=5.0)
    reached = sum(call.failures > 0 for call in world.calls)
    assert reached > 0.5 * len(world.calls)
    assert 1.05 < world.sent / reached <= 1.2  # it does try again, a little
    assert all(call.status == 503 for call in world.calls)


def test_one_broken_replica_costs_no_caller_anything() -> None:
    def service(place: int, rows: int, now: float, random: Random) -> tuple[float, int]:
        return (0.005, 502 if place == 0 and 5.0 < now < 5.5 else 200)

    world = World(service, replicas=2).run(rate=100, seconds=10, deadline=1.0)
    assert world.ejected
    assert world.share_of(200) == 1.0
