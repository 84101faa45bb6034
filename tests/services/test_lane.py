"""The lean lane's handler: answers, errors, deadlines, threads and their limits."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services import lane as limits
from services.frame import decode_answer, encode_request
from services.lane import Lane, Reply
from tests.services.lanes import Slow, X, gather, opened


async def ask(lane: Lane, body: bytes) -> Reply:
    reply = lane.infer(body, lane.clock())
    return reply if isinstance(reply, Reply) else await reply


async def until(true: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not true():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


def test_the_first_call_and_a_later_one_are_answered_alike() -> None:
    async def run() -> None:
        session = opened()
        lane = Lane(session)
        for _ in range(2):
            status, body = await ask(lane, encode_request([("x", X)]))
            assert status == 200
            np.testing.assert_array_equal(decode_answer(body).tensors["y"], X)
        assert (session.stats.requests, session.stats.rows) == (2, 4)

    asyncio.run(run())


def test_errors_have_status_code_and_field() -> None:
    async def run() -> None:
        cases = [
            (b"rubbish", 400, "bad_frame", None),
            (encode_request([("q", X)]), 400, "bad_input", "q"),
            (encode_request([("x", X[0])]), 400, "bad_input", "x"),
            (encode_request([("x", X)], outputs=["z"]), 400, "bad_input", "z"),
            (encode_request([("x", X)], deadline_ms=0), 504, "deadline_exceeded", None),
        ]
        lane = Lane(opened())
        await ask(lane, encode_request([("x", X)]))
        for body, status, code, field in cases:
            found, answer = await ask(lane, body)
            error = json.loads(answer)
            assert (found, error["code"], error.get("field")) == (status, code, field), error
            assert error["error"]
        found, answer = await ask(Lane(gather()), encode_request([("x", np.array([9]))]))
        assert (found, json.loads(answer)["code"]) == (500, "model_error")

    asyncio.run(run())


@pytest.mark.parametrize("method", ["check", "run_checked"])
def test_a_fault_of_ours_is_an_answer_too_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    async def run() -> None:
        session = opened()
        monkeypatch.setattr(session, method, broken)
        status, answer = await ask(Lane(session), encode_request([("x", X)]))
        assert (status, json.loads(answer)["code"], b"secret" in answer) == (500, "model_failed", False)
        assert "secret" in caplog.text

    asyncio.run(run())


def test_nothing_is_computed_after_the_deadline() -> None:
    async def run() -> None:
        session = opened()
        now = iter([100.0, 100.2, 100.0, 100.1])
        lane = Lane(session, clock=lambda: next(now))
        body = encode_request([("x", X)], deadline_ms=199)
        assert ((await ask(lane, body)).status, session.stats.requests) == (504, 0)
        assert ((await ask(lane, body)).status, session.stats.requests) == (200, 1)

    asyncio.run(run())


def test_long_calls_leave_the_loop_and_short_ones_stay() -> None:
    async def run() -> None:
        session = Slow()
        lane = Lane(session)
        body = encode_request([("x", X)])
        session.takes = 100
        for _ in range(2):
            await ask(lane, body)
        assert session.threads[1] == threading.get_ident() != session.threads[0]
        session.takes = 100_000
        for _ in range(2):
            await ask(lane, body)
        assert session.threads[3] != threading.get_ident()

    asyncio.run(run())


def test_waiting_calls_are_bounded_and_lose_their_deadline(monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "MAX_WAITING", 2)

    async def run() -> None:
        session = Slow()
        now = [100.0]
        lane = Lane(session, clock=lambda: now[0])
        session.gate.clear()
        body = encode_request([("x", X)], deadline_ms=1000)
        waiting = [asyncio.create_task(ask(lane, body)) for _ in range(2)]
        await until(lambda: session.threads)
        status, answer = await ask(lane, body)
        assert (status, json.loads(answer)["code"]) == (503, "overloaded")
        now[0] = 102.0
        session.gate.set()
        assert [(await task)[0] for task in waiting] == [200, 504]
        assert len(session.threads) == 1
        now[0] = 100.0
        assert (await ask(lane, body)).status == 200  # the places are free again

    asyncio.run(run())


def test_a_cancelled_call_that_waits_is_not_computed(monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "MAX_WAITING", 2)

    async def run() -> None:
        session = Slow()
        lane = Lane(session)
        session.gate.clear()
        body = encode_request([("x", X)])
        first, second = lane.infer(body, lane.clock()), lane.infer(body, lane.clock())
        assert not isinstance(first, Reply)
        assert not isinstance(second, Reply)
        second.cancel()
        await asyncio.sleep(0)
        third = lane.infer(body, lane.clock())  # in the place of the second
        assert not isinstance(third, Reply)
        session.gate.set()
        assert [(await first).status, (await third).status] == [200, 200]
        assert (len(session.threads), second.cancelled()) == (2, True)

    asyncio.run(run())
