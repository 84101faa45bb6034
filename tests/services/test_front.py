"""The ASGI front: the lane by this way in, its paths and methods, and what it leaves to BentoML."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from services import lane as limits
from services.frame import decode_answer, encode_request
from services.front import Front
from services.lane import Lane
from services.session import Session
from tests.services.lanes import X, behind, opened


def fronted(session: Session | None = None) -> Front:
    return Front(behind, Lane(session or opened()))


async def ask(
    front: Front, path: str, parts: Iterable[bytes] = (b"",), method: str = "POST", hang_up: bool = False
) -> tuple[int, dict[bytes, bytes], bytes]:
    """One exchange; (0, {}, b"") where nothing was sent."""
    queue = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    queue[-1]["more_body"] = hang_up
    sent: list[Any] = []

    async def receive() -> Any:
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await front({"type": "http", "method": method, "path": path}, receive, send)
    if not sent:
        return 0, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_an_answer_in_one_and_in_many_parts() -> None:
    async def run() -> None:
        front = fronted()
        body = encode_request([("x", X)])
        for parts in ([body], [body[:5], b"", body[5:]]):
            status, headers, answer = await ask(front, "/_pm/infer", parts)
            assert (status, int(headers[b"content-length"])) == (200, len(answer))
            assert headers[b"content-type"] == b"application/x-pointsman-frame"
            np.testing.assert_array_equal(decode_answer(answer).tensors["y"], X)

    asyncio.run(run())


def test_everything_else_goes_to_bentoml() -> None:
    async def run() -> None:
        front = fronted()
        assert (await ask(front, "/predict"))[::2] == (418, b"/predict")
        assert (await ask(front, "/_pm"))[0] == 418

    asyncio.run(run())


def test_errors_have_status_code_and_type() -> None:
    async def run() -> None:
        front = fronted()
        cases = [
            ("/_pm/infer", b"rubbish", "POST", 400, "bad_frame"),
            ("/_pm/infer", encode_request([("x", X)], deadline_ms=0), "POST", 504, "deadline_exceeded"),
            ("/_pm/infer", b"", "GET", 405, "method_not_allowed"),
            ("/_pm/stats", b"", "POST", 405, "method_not_allowed"),
            ("/_pm/other", b"", "POST", 404, "not_found"),
        ]
        for path, body, method, status, code in cases:
            found, headers, answer = await ask(front, path, [body], method)
            assert (found, json.loads(answer)["code"]) == (status, code)
            assert headers[b"content-type"] == b"application/json"

    asyncio.run(run())


def test_stats_count_what_was_run() -> None:
    async def run() -> None:
        front = fronted()
        for _ in range(2):
            await ask(front, "/_pm/infer", [encode_request([("x", X)])])
        status, headers, body = await ask(front, "/_pm/stats", method="GET")
        found = json.loads(body)
        assert (status, found["requests"], found["rows"]) == (200, 2, 4)
        assert found["busy_us"] >= 0
        assert headers[b"content-type"] == b"application/json"

    asyncio.run(run())


def test_a_caller_that_hangs_up_is_not_answered_nor_computed() -> None:
    async def run() -> None:
        session = opened()
        found = await ask(fronted(session), "/_pm/infer", [encode_request([("x", X)])], hang_up=True)
        assert (found[0], session.stats.requests) == (0, 0)

    asyncio.run(run())


def test_a_body_over_the_limit_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "MAX_BODY", 10)

    async def run() -> None:
        status, headers, _ = await ask(fronted(), "/_pm/infer", [b"12345678", b"90a"])
        assert (status, headers[b"connection"]) == (413, b"close")

    asyncio.run(run())


def test_draining_asks_for_the_connection_to_be_closed() -> None:
    async def run() -> None:
        front = fronted()
        front.lane.draining = True
        _, headers, _ = await ask(front, "/_pm/infer", [encode_request([("x", X)])])
        assert headers[b"connection"] == b"close"

    asyncio.run(run())
