"""The tensor lane against a replica that fails on purpose: faults a real one does not give on demand."""

import asyncio
from pathlib import Path
from time import monotonic

import orjson
import pytest
from faulty import LIMITS, answers, doubled, error, healthy, http, lane_with, replica, run, submit

from router.errors import BadInput, DeadlineExceeded, ModelFailed, Unavailable, UpstreamFailed
from router.upstream.lane import Lane
from router.upstream.rules import LaneLimits


def test_what_waits_leaves_as_one_batch_and_comes_back_to_its_callers() -> None:
    async def test() -> None:
        async with lane_with(healthy) as (lane, (faulty,)):
            items = [submit(lane, number, number + 100) for number in range(20)]
            assert await answers(*items) == [[2 * n, 2 * n + 200] for n in range(20)]
            assert faulty.batches[0] == [0, 100]  # the first found the replica idle
            assert sum(map(len, faulty.batches)) == 40
            assert len(faulty.batches) <= 3

    run(test)


def test_what_is_not_row_wise_is_never_joined() -> None:
    async def test() -> None:
        async with lane_with(healthy) as (lane, (faulty,)):
            items = [submit(lane, number, rowwise=False) for number in range(5)]
            assert await answers(*items) == [[2 * n] for n in range(5)]
            assert faulty.batches == [[n] for n in range(5)]

    run(test)


def test_one_callers_bad_row_fails_nobody_else() -> None:
    async def poisoned(rows: list[int]) -> bytes:
        return error(500) if 7 in rows else doubled(rows)

    async def test() -> None:
        async with lane_with(poisoned) as (lane, _):
            items = [submit(lane, number) for number in range(16)]
            results = await answers(*items)
            assert isinstance(results[7], ModelFailed)
            assert [result for n, result in enumerate(results) if n != 7] == [
                [2 * n] for n in range(16) if n != 7
            ]

    run(test)


def test_a_replicas_400_is_the_callers() -> None:
    async def refuses(rows: list[int]) -> bytes:
        return http(400, orjson.dumps({"error": "no", "code": "bad_input", "field": "x"}))

    async def test() -> None:
        async with lane_with(refuses) as (lane, _):
            (result,) = await answers(submit(lane, 1))
            assert isinstance(result, BadInput)
            assert result.field == "x"

    run(test)


def test_a_wrong_number_of_rows_reaches_nobody() -> None:
    async def short(rows: list[int]) -> bytes:
        return doubled(rows[:-1] or [1, 2])

    async def test() -> None:
        async with lane_with(short) as (lane, _):
            results = await answers(*[submit(lane, number) for number in range(6)])
            assert all(isinstance(result, ModelFailed) and result.code == "bad_answer" for result in results)

    run(test)


@pytest.mark.parametrize("noise", [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", b"what?\r\n\r\n"])
def test_noise_reaches_nobody(noise: bytes) -> None:
    async def noisy(rows: list[int]) -> bytes:
        return noise

    async def test() -> None:
        async with lane_with(noisy) as (lane, _):
            (result,) = await answers(submit(lane, 1))
            assert isinstance(result, ModelFailed | UpstreamFailed)

    run(test)


def test_a_cut_connection_is_tried_again_elsewhere() -> None:
    async def dies(rows: list[int]) -> None:
        return None

    async def test() -> None:
        async with lane_with(dies, healthy) as (lane, _):
            items = [submit(lane, number) for number in range(10)]
            assert await answers(*items) == [[2 * n] for n in range(10)]
            assert any(attempt.status == 502 for item in items for attempt in item.attempts)
            assert all(item.attempts[-1].status == 200 for item in items)

    run(test)


def test_a_replica_that_always_dies_gives_up_in_bounded_tries() -> None:
    async def dies(rows: list[int]) -> None:
        return None

    async def test() -> None:
        async with lane_with(dies) as (lane, (faulty,)):
            (result,) = await answers(submit(lane, 1))
            assert isinstance(result, UpstreamFailed)
            assert len(faulty.batches) == 2  # the budget of a lane that has done nothing yet: one

    run(test)


def test_an_answer_that_comes_too_late_reaches_nobody_and_no_later_caller() -> None:
    async def slow(rows: list[int]) -> bytes:
        if rows == [1]:
            await asyncio.sleep(0.4)
        return doubled(rows)

    async def test() -> None:
        async with lane_with(slow) as (lane, (faulty,)):
            late = submit(lane, 1, timeout=0.1)
            (result,) = await answers(late)
            assert isinstance(result, DeadlineExceeded | UpstreamFailed)
            assert await answers(submit(lane, 5)) == [[10]]
            assert faulty.connections == 2  # the connection out of step was not used again

    run(test)


def test_expired_work_is_not_computed() -> None:
    gate = asyncio.Event()

    async def gated(rows: list[int]) -> bytes:
        await gate.wait()
        return doubled(rows)

    async def test() -> None:
        async with lane_with(gated) as (lane, (faulty,)):
            first = submit(lane, 1)
            late = submit(lane, 2, timeout=0.05)
            lane.expire(monotonic() + 0.1)
            gate.set()
            results = await answers(first, late)
            assert results[0] == [2]
            assert isinstance(results[1], DeadlineExceeded)
            assert faulty.batches == [[1]]

    run(test)


def test_cancelled_callers_leave_the_queue() -> None:
    gate = asyncio.Event()

    async def gated(rows: list[int]) -> bytes:
        await gate.wait()
        return doubled(rows)

    async def test() -> None:
        async with lane_with(gated) as (lane, (faulty,)):
            first = submit(lane, 1)
            leaving = [submit(lane, number) for number in range(2, 50)]
            last = submit(lane, 99)
            for item in leaving:
                item.future.cancel()
            gate.set()
            assert await answers(first, last) == [[2], [198]]
            assert faulty.batches == [[1], [99]]
            assert lane.waiting == 0

    run(test)


def test_the_queue_is_bounded_in_requests_and_bytes() -> None:
    gate = asyncio.Event()

    async def gated(rows: list[int]) -> bytes:
        await gate.wait()
        return doubled(rows)

    async def test() -> None:
        small = LaneLimits(requests=3, size=1 << 20, batch=LIMITS.batch)
        async with lane_with(gated, limits=small) as (lane, _):
            items = [submit(lane, number) for number in range(4)]  # one in flight, three wait
            with pytest.raises(Unavailable) as caught:
                submit(lane, 4)
            assert caught.value.code == "overloaded"
            assert caught.value.retry_after == 1
            gate.set()
            assert await answers(*items) == [[2 * n] for n in range(4)]
        tight = LaneLimits(requests=100, size=16, batch=LIMITS.batch)
        gate.clear()
        async with lane_with(gated, limits=tight) as (lane, _):
            items = [submit(lane, number) for number in range(3)]  # 8 bytes each: one flies, two wait
            with pytest.raises(Unavailable, match="overloaded"):
                submit(lane, 4)
            gate.set()
            assert await answers(*items) == [[0], [2], [4]]

    run(test)


def test_without_replicas_nobody_waits() -> None:
    async def test() -> None:
        lane = Lane("m", "1", LIMITS)
        with pytest.raises(Unavailable, match="no ready replica"):
            submit(lane, 1)

    run(test)


def test_an_unreachable_replica_is_a_503_at_once() -> None:
    async def test() -> None:
        lane = Lane("m", "1", LIMITS)
        lane.seat((replica(Path("/nonexistent/socket")),))
        (result,) = await answers(submit(lane, 1))
        assert isinstance(result, Unavailable)
        lane.close()

    run(test)


def test_a_retired_replica_finishes_what_it_has() -> None:
    gate = asyncio.Event()

    async def gated(rows: list[int]) -> bytes:
        await gate.wait()
        return doubled(rows)

    async def test() -> None:
        async with lane_with(gated, healthy) as (lane, (old, new)):
            first = submit(lane, 1)
            while not old.batches:
                await asyncio.sleep(0)
            lane.seat((replica(new.path),))
            assert await answers(submit(lane, 2)) == [[4]]
            assert new.batches == [[2]]
            gate.set()
            assert await answers(first) == [[2]]

    run(test)
