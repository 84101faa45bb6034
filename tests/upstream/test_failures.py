"""Replicas that hang, die, refuse or slow down: who is asked instead, how often, and what is left afterwards."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from faulty import LIMITS, answers, doubled, error, healthy, lane_with, replica, run, submit

from router.errors import PointsmanError, Unavailable
from router.upstream.health import HealthRules
from router.upstream.lane import Lane
from router.upstream.upstream import SWEEP
from router.upstream.work import Item

QUICK = replace(LIMITS, health=HealthRules(first_s=0.1, ramp_s=0.1))


class Moody:
    """A behaviour that can be changed while it is used: `well`, hanging until it is, or `status`."""

    def __init__(self) -> None:
        self.well = asyncio.Event()
        self.well.set()
        self.status = 200

    async def __call__(self, rows: list[int]) -> bytes:
        """Answers once it is well."""
        await self.well.wait()
        return doubled(rows) if self.status == 200 else error(self.status)


async def until(condition: Callable[[], object], timeout: float = 5.0) -> None:
    """Waits for it, a turn of the loop at a time."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


async def in_turn(lane: Lane, count: int) -> list[Item]:
    """So many requests, one after another; each must be answered."""
    items = []
    for number in range(count):
        items.append(submit(lane, number))
        assert await answers(items[-1]) == [[2 * number]]
    return items


def test_light_traffic_goes_to_all_in_turn() -> None:
    async def test() -> None:
        async with lane_with(healthy, healthy, healthy) as (lane, faulty):
            await lane.warm()
            await in_turn(lane, 30)
            assert [len(each.batches) for each in faulty] == [10, 10, 10]

    run(test)


def test_a_replica_that_hangs_costs_nobody_half_a_second_and_comes_back_by_a_probe() -> None:
    async def test() -> None:
        moody = Moody()
        async with lane_with(healthy, moody, healthy, limits=QUICK) as (lane, (_, hung, _)):
            await lane.warm()
            await in_turn(lane, 60)
            moody.well.clear()
            began = monotonic()
            items = []
            for number in range(60):
                sent = monotonic()
                items.append(submit(lane, number))
                assert await answers(items[-1]) == [[2 * number]]
                assert monotonic() - sent < 0.5
            assert monotonic() - began < 2
            assert lane.out == 1
            assert lane.tally.ejections == {"overtaken": 1}
            (hedged,) = [item for item in items if len(item.attempts) > 1]
            assert (hedged.attempts[0].replica, hedged.attempts[0].status) == ("1", 504)
            assert hedged.attempts[-1].status == 200
            assert hedged.replica != "1"
            assert lane.tally.hedged == 1
            seen = len(hung.batches)
            await until(lambda: hung.probes)
            assert lane.out == 1  # it does not answer the probe
            moody.well.set()
            await until(lambda: lane.out == 0)
            assert len(hung.batches) == seen  # nobody's request was risked
            await until(lambda: lane.idle)
            for _ in range(20):
                await in_turn(lane, 5)
            assert len(hung.batches) > seen

    run(test)


def test_an_answer_that_comes_after_the_copy_left_is_the_only_one() -> None:
    async def test() -> None:
        slow, blocked = Moody(), Moody()
        async with lane_with(slow, blocked) as (lane, (first, second)):
            await lane.warm()
            await in_turn(lane, 40)
            slow.well.clear()
            blocked.well.clear()
            before = len(first.batches) + len(second.batches)
            item = submit(lane, 7)
            await until(lambda: len(first.batches) + len(second.batches) == before + 2)
            owner = slow if item.attempts[0].replica == "0" else blocked
            owner.well.set()
            assert await answers(item) == [[14]]
            assert [each.status for each in item.attempts] == [504, 200]
            assert item.attempts[0].replica == item.attempts[1].replica == item.replica
            assert lane.out == 0  # nobody was overtaken
            slow.well.set()
            blocked.well.set()
            await until(lambda: lane.idle)
            assert len(item.attempts) == 2
            assert await answers(submit(lane, 5), submit(lane, 6)) == [[10], [12]]

    run(test)


def test_a_copy_and_its_original_that_both_fail_fail_once() -> None:
    async def test() -> None:
        slow, blocked = Moody(), Moody()
        async with lane_with(slow, blocked) as (lane, (first, second)):
            await lane.warm()
            await in_turn(lane, 40)
            slow.well.clear()
            blocked.well.clear()
            before = len(first.batches) + len(second.batches)
            item = submit(lane, 7)
            await until(lambda: len(first.batches) + len(second.batches) == before + 2)
            slow.status = blocked.status = 500
            slow.well.set()
            await until(lambda: lane.busy == 1)
            assert not item.future.done()
            blocked.well.set()
            (result,) = await answers(item)
            assert isinstance(result, PointsmanError)
            assert [each.status for each in item.attempts] == [504, 500, 500]
            assert lane.idle

    run(test)


def test_a_replica_that_dies_fails_nobody_beside_another() -> None:
    async def dies(rows: list[int]) -> None:
        return None

    async def test() -> None:
        moody = Moody()
        async with lane_with(moody, healthy) as (lane, (dying, _)):
            await lane.warm()
            waves = [submit(lane, number) for number in range(50)]
            dying.behave = dies
            dying.path.unlink()  # nobody listens there any more
            for number in range(50, 100):
                waves.append(submit(lane, number))
                await asyncio.sleep(0)
            assert await answers(*waves) == [[2 * number] for number in range(100)]
            assert await answers(*[submit(lane, number) for number in range(50)]) == [
                [2 * number] for number in range(50)
            ]

    run(test)


def test_errors_in_a_row_put_a_replica_out_and_never_all() -> None:
    async def test() -> None:
        moods = [Moody(), Moody()]
        async with lane_with(*moods, limits=QUICK) as (lane, _):
            await lane.warm()
            await in_turn(lane, 10)
            moods[0].status = 500
            results = [(await answers(submit(lane, number)))[0] for number in range(30)]
            assert sum(isinstance(result, PointsmanError) for result in results) == 3
            assert lane.tally.ejections == {"500": 1}
            moods[1].status = 500
            for number in range(10):
                await answers(submit(lane, number))
            assert lane.out == 2
            moods[0].status = moods[1].status = 200
            await in_turn(lane, 1)  # a panic asks whom it can
            await until(lambda: lane.out == 0)

    run(test)


@pytest.mark.parametrize("replicas", [1, 3])
def test_where_all_refuse_the_retries_stay_within_their_budget(replicas: int) -> None:
    async def refuses(rows: list[int]) -> bytes:
        return error(503)

    async def test() -> None:
        async with lane_with(*[refuses] * replicas) as (lane, faulty):
            for _ in range(50):
                results = await answers(*[submit(lane, number) for number in range(20)])
                assert all(isinstance(result, Unavailable) for result in results)
            sent = sum(len(batch) for each in faulty for batch in each.batches)
            assert sent <= 1.2 * 1000
            assert sent == 1000 + lane.tally.retried
            assert lane.tally.retried > 0 or replicas == 1

    run(test)


def test_a_503_of_one_is_answered_by_another() -> None:
    async def test() -> None:
        moody = Moody()
        async with lane_with(moody, healthy) as (lane, _):
            await lane.warm()
            await in_turn(lane, 40)  # earns what the retries cost
            moody.status = 503
            items = await in_turn(lane, 20)
            tried = [[each.status for each in item.attempts] for item in items]
            assert tried.count([503, 200]) == 3
            assert tried.count([200]) == 17
            assert lane.tally.ejections == {"503": 1}
            assert lane.tally.retried == 3

    run(test)


def test_ten_thousand_cancelled_requests_leave_nothing() -> None:
    async def test() -> None:
        moods = [Moody(), Moody()]
        async with lane_with(*moods, limits=replace(LIMITS, requests=2048)) as (lane, faulty):
            await lane.warm()
            await in_turn(lane, 40)
            tasks = len(asyncio.all_tasks())
            for round_ in range(200):
                if round_ % 20 == 0:
                    for mood in moods:
                        mood.well.clear()  # some are cancelled under way, some as copies, most in the queue
                items = [submit(lane, number) for number in range(50)]
                if round_ % 20 == 0:
                    await until(lambda: lane.busy == 2)
                for item in items:
                    item.future.cancel()
                if round_ % 20 == 0:
                    await asyncio.sleep(0.12)
                for mood in moods:
                    mood.well.set()
                await asyncio.sleep(0)
            await until(lambda: lane.idle)
            assert (lane.waiting, lane.busy, lane.out) == (0, 0, 0)
            await in_turn(lane, 10)
            await until(lambda: all(each.open <= 1 for each in faulty))
            assert len(asyncio.all_tasks()) <= tasks
            assert lane.idle

    run(test)


def test_a_replica_that_times_out_is_given_up_and_its_connection_with_it() -> None:
    async def test() -> None:
        moody = Moody()
        async with lane_with(moody) as (lane, (alone,)):
            await in_turn(lane, 30)
            moody.well.clear()
            (result,) = await answers(submit(lane, 1, timeout=0.2))
            assert isinstance(result, PointsmanError)
            assert result.status == 504
            await until(lambda: lane.busy == 0)
            moody.well.set()
            assert await answers(submit(lane, 5)) == [[10]]
            assert alone.connections == 2
            assert lane.out == 0  # one short deadline is no proof

    run(test)


def test_a_lane_that_closes_ends_what_is_under_way_in_bounded_time() -> None:
    async def test() -> None:
        moody = Moody()
        async with lane_with(moody) as (lane, _):
            await in_turn(lane, 3)
            moody.well.clear()
            flying, waiting = submit(lane, 1, timeout=0.3), submit(lane, 2)
            lane.close()
            (result,) = await answers(waiting)
            assert isinstance(result, Unavailable)
            assert not flying.future.done()
            (result,) = await answers(flying)
            assert isinstance(result, PointsmanError)
            await until(lambda: lane.idle)

    run(test)


def test_a_new_replica_beside_warm_ones_begins_with_a_small_share() -> None:
    async def test() -> None:
        async with lane_with(healthy, healthy) as (lane, (old, new)):
            lane.seat((replica(old.path),))
            await in_turn(lane, 20)
            lane.seat((replica(old.path), replica(new.path)))
            await lane.warm()
            await in_turn(lane, 40)
            assert len(new.batches) < len(old.batches) - 20  # one in ten, where the old one is idle too

    run(test)


class Elsewhere(asyncio.Future[Any]):
    """A waiter who has somewhere else to go, or has not."""

    def __init__(self, goes: bool) -> None:
        super().__init__()
        self.goes = goes
        self.told = 0

    def overdue(self) -> bool:
        """No answer in its usual time."""
        self.told += 1
        if self.goes:
            self.cancel()
        return self.goes


@pytest.mark.parametrize("goes", [True, False])
def test_where_one_alone_hangs_its_callers_are_told_once(goes: bool) -> None:
    async def test() -> None:
        moody = Moody()
        async with lane_with(moody) as (lane, (alone,)):
            await in_turn(lane, 40)
            moody.well.clear()
            waiter = Elsewhere(goes)
            item = submit(lane, 7, future=waiter)
            await until(lambda: waiter.told)
            await asyncio.sleep(2 * SWEEP)
            assert waiter.told == 1
            assert [each.status for each in item.attempts] == ([504] if goes else [])
            assert lane.tally.hedged == 0
            moody.well.set()
            await until(lambda: lane.idle)
            assert waiter.cancelled() if goes else waiter.result().outputs["y"].tolist() == [[14]]
            assert len(alone.batches) == 41

    run(test)


def test_who_waits_behind_one_that_hangs_is_told_too() -> None:
    async def test() -> None:
        moody = Moody()
        async with lane_with(moody) as (lane, _):
            await in_turn(lane, 40)
            moody.well.clear()
            waiters = [Elsewhere(True) for _ in range(20)]
            items = [submit(lane, number, future=waiter) for number, waiter in enumerate(waiters)]
            began = monotonic()
            await until(lambda: all(waiter.told for waiter in waiters))
            assert monotonic() - began < 0.5
            assert all([each.status for each in item.attempts] == [504] for item in items)
            assert [waiter.told for waiter in waiters] == [1] * 20

    run(test)
