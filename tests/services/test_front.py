"""The lean lane in this process: answers, errors, deadlines, threads, and what it leaves to BentoML."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from services import front as front_module
from services.artifact import Artifact
from services.frame import decode_answer, encode_request
from services.front import Front
from services.graph import examine
from services.session import Session
from tests.services import models


def opened(data: bytes | None = None) -> Session:
    data = data or models.identity()
    return Session(Artifact(data, {}, ()), examine(data))


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """Stands for BentoML's app."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


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


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_an_answer_in_one_and_in_many_parts() -> None:
    async def run() -> None:
        front = Front(behind, opened())
        body = encode_request([("x", X)])
        for parts in ([body], [body[:5], b"", body[5:]]):
            status, headers, answer = await ask(front, "/_pm/infer", parts)
            assert (status, int(headers[b"content-length"])) == (200, len(answer))
            np.testing.assert_array_equal(decode_answer(answer).tensors["y"], X)

    asyncio.run(run())


def test_everything_else_goes_to_bentoml() -> None:
    async def run() -> None:
        front = Front(behind, opened())
        assert (await ask(front, "/predict"))[::2] == (418, b"/predict")
        assert (await ask(front, "/_pm"))[0] == 418

    asyncio.run(run())


def test_errors_have_status_code_and_field() -> None:
    gather = models.model(
        [models.helper.make_node("Gather", ["table", "x"], ["y"])],
        [models.value("x", [None], "INT64")],
        [models.value("y", [None])],
        [models.numpy_helper.from_array(np.zeros(3, np.float32), "table")],
    )

    async def run() -> None:
        front = Front(behind, opened())
        cases = [
            ("/_pm/infer", b"rubbish", "POST", 400, "bad_frame", None),
            ("/_pm/infer", encode_request([("q", X)]), "POST", 400, "bad_input", "q"),
            ("/_pm/infer", encode_request([("x", X[0])]), "POST", 400, "bad_input", "x"),
            ("/_pm/infer", encode_request([("x", X)], outputs=["z"]), "POST", 400, "bad_input", "z"),
            ("/_pm/infer", encode_request([("x", X)], deadline_ms=0), "POST", 504, "deadline_exceeded", None),
            ("/_pm/infer", b"", "GET", 405, "method_not_allowed", None),
            ("/_pm/other", b"", "POST", 404, "not_found", None),
        ]
        for path, body, method, status, code, field in cases:
            found, _, answer = await ask(front, path, [body], method)
            error = json.loads(answer)
            assert (found, error["code"], error.get("field")) == (status, code, field), error
            assert error["error"]
        failing = Front(behind, opened(gather))
        found, _, answer = await ask(failing, "/_pm/infer", [encode_request([("x", np.array([9]))])])
        assert (found, json.loads(answer)["code"]) == (500, "model_error")

    asyncio.run(run())


def test_nothing_is_computed_after_the_deadline() -> None:
    async def run() -> None:
        session = opened()
        now = iter([100.0, 100.2])
        front = Front(behind, session, clock=lambda: next(now))
        status, _, _ = await ask(front, "/_pm/infer", [encode_request([("x", X)], deadline_ms=199)])
        assert (status, session.stats.requests) == (504, 0)
        now = iter([100.0, 100.1])
        status, _, _ = await ask(front, "/_pm/infer", [encode_request([("x", X)], deadline_ms=199)])
        assert (status, session.stats.requests) == (200, 1)

    asyncio.run(run())


def test_stats_count_what_was_run() -> None:
    async def run() -> None:
        front = Front(behind, opened())
        for _ in range(2):
            await ask(front, "/_pm/infer", [encode_request([("x", X)])])
        status, _, body = await ask(front, "/_pm/stats", method="GET")
        found = json.loads(body)
        assert (status, found["requests"], found["rows"]) == (200, 2, 4)
        assert found["busy_us"] >= 0

    asyncio.run(run())


def test_a_caller_that_hangs_up_is_not_answered_nor_computed() -> None:
    async def run() -> None:
        session = opened()
        found = await ask(Front(behind, session), "/_pm/infer", [encode_request([("x", X)])], hang_up=True)
        assert (found[0], session.stats.requests) == (0, 0)

    asyncio.run(run())


def test_a_body_over_the_limit_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(front_module, "MAX_BODY", 10)

    async def run() -> None:
        status, headers, _ = await ask(Front(behind, opened()), "/_pm/infer", [b"12345678", b"90a"])
        assert (status, headers[b"connection"]) == (413, b"close")

    asyncio.run(run())


class Slow(Session):
    """Says of each call that it took 6 ms, notes the thread, and waits while `gate` is shut."""

    def __init__(self) -> None:
        data = models.identity()
        super().__init__(Artifact(data, {}, ()), examine(data))
        self.threads: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.takes = 6000

    def run(self, inputs: Any, outputs: Any = None) -> Any:
        self.threads.append(threading.get_ident())
        assert self.gate.wait(20)
        found, _ = super().run(inputs, outputs)
        return found, self.takes


def test_long_calls_leave_the_loop_and_short_ones_stay() -> None:
    async def run() -> None:
        session = Slow()
        front = Front(behind, session)
        body = encode_request([("x", X)])
        session.takes = 100
        for _ in range(2):
            await ask(front, "/_pm/infer", [body])
        assert session.threads[1] == threading.get_ident() != session.threads[0]
        session.takes = 100_000
        for _ in range(2):
            await ask(front, "/_pm/infer", [body])
        assert session.threads[3] != threading.get_ident()

    asyncio.run(run())


def test_waiting_calls_are_bounded_and_lose_their_deadline(monkeypatch: Any) -> None:
    monkeypatch.setattr(front_module, "MAX_WAITING", 2)

    async def run() -> None:
        session = Slow()
        now = [100.0]
        front = Front(behind, session, clock=lambda: now[0])
        session.gate.clear()
        body = encode_request([("x", X)], deadline_ms=1000)
        waiting = [asyncio.create_task(ask(front, "/_pm/infer", [body])) for _ in range(2)]
        deadline = asyncio.get_running_loop().time() + 10
        while not session.threads:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0)
        status, _, answer = await ask(front, "/_pm/infer", [body])
        assert (status, json.loads(answer)["code"]) == (503, "overloaded")
        now[0] = 102.0
        session.gate.set()
        assert [(await task)[0] for task in waiting] == [200, 504]
        assert len(session.threads) == 1

    asyncio.run(run())


def test_draining_asks_for_the_connection_to_be_closed() -> None:
    async def run() -> None:
        front = Front(behind, opened())
        front.draining = True
        _, headers, _ = await ask(front, "/_pm/infer", [encode_request([("x", X)])])
        assert headers[b"connection"] == b"close"

    asyncio.run(run())
