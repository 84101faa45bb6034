"""Passed-through requests that a replica breaks: who is asked again, what callers and the log see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from router.edge.exchange import Failed
from tests.edge.test_crossing import HEADERS, WHOLE, Hall, until
from tests.upstream.test_stream import Serve, replica, run, says

CUT = says(b"", close=True)
STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"


@asynccontextmanager
async def two(folder: Path, first: Serve, second: Serve, **given: Any) -> AsyncIterator[Hall]:
    """A hall whose first replica is the one that is at hand."""
    async with replica(first) as one, replica(second) as other:
        made = Hall(folder, one, other, **given)
        await made.connect()
        try:
            yield made
        finally:
            made.upstream.doors.close()
            made.journal.close()


class Caller:
    """The ASGI side of one request; `parts` of its body come one by one."""

    def __init__(self, made: Hall, method: str, parts: list[bytes], *headers: tuple[bytes, bytes]) -> None:
        self.made = made
        self.parts = parts
        self.told = False
        self.sent: list[dict[str, Any]] = []
        length = [(b"content-length", b"%d" % sum(map(len, parts)))] if parts else []
        self.scope = {
            "type": "http", "method": method, "path": "/models/m/x", "raw_path": b"/models/m/x", "scheme": "http",
            "query_string": b"", "headers": [(b"host", b"g"), (b"x-request-id", b"one"), *length, *headers],
            "client": ("10.0.0.1", 1),
        }  # fmt: skip

    async def receive(self) -> dict[str, Any]:
        """The next event of the caller, who stays."""
        if self.parts or not self.told:
            self.told = True
            body = self.parts.pop(0) if self.parts else b""
            return {"type": "http.request", "body": body, "more_body": bool(self.parts)}
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def send(self, message: dict[str, Any]) -> None:
        """Keeps what comes."""
        self.sent.append(message)

    async def ask(self) -> tuple[int, bytes]:
        """The whole answer."""
        await self.made.desk.passthrough(self.scope, self.receive, self.send)
        return self.answer()

    def answer(self) -> tuple[int, bytes]:
        """What came."""
        body = b"".join(message.get("body", b"") for message in self.sent[1:])
        return self.sent[0]["status"], body


def statuses(made: Hall) -> list[tuple[str, int]]:
    """Of the attempts of the one record."""
    (record,) = made.records()
    return [(each["replica"], each["status"]) for each in record["attempts"]]


# -- by callbacks ------------------------------------------------------------------------------------------


def test_a_broken_get_goes_to_another_replica_once_by_the_other_way(tmp_path: Path) -> None:
    async def work() -> None:
        async with two(tmp_path, CUT, says(WHOLE)) as made:
            assert made.cross(method=b"GET")[0]
            await until(lambda: made.ends.failed)
            (failed,) = made.ends.failed
            assert made.journal.appended == 0
            assert made.door.busy == 0
            caller = Caller(made, "GET", [b"abc"])
            await made.desk.passthrough.again(failed, caller.scope, caller.receive, caller.send)
            assert caller.answer() == (200, b"ok")
            assert statuses(made) == [("a", 502), ("b", 200)]
            (record,) = made.records()
            assert record["replica"] == "b"
            (tally,) = made.upstream.tallies.values()
            assert (tally.retried, tally.refused) == (1, 0)

    run(work())


@pytest.mark.parametrize("why", ["a POST", "nobody else", "the budget", "the deadline"])
def test_what_may_not_be_repeated_by_callbacks_fails_at_once(tmp_path: Path, why: str) -> None:
    async def work() -> None:
        async with two(tmp_path, CUT, says(WHOLE)) as made:
            doors = made.upstream.doors
            (gate,) = doors._gates.values()
            headers = HEADERS
            if why == "nobody else":
                gate.doors["b"].health.eject("cut", monotonic(), 0.0)
            elif why == "the budget":
                gate.judgement.budget.balance = -5.0
            elif why == "the deadline":
                headers = [*HEADERS, (b"x-request-timeout-ms", b"1")]
            sent, crossing = made.cross(method=b"POST" if why == "a POST" else b"GET", headers=headers)
            assert sent
            if why == "the deadline":
                made.desk.deadlines.forget(crossing)  # its own timer would be first
                while monotonic() < crossing._began + 0.002:
                    pass
            await until(lambda: made.ends.answers)
            assert made.ends.answers[0][0] == 502
            assert not made.ends.failed
            assert statuses(made) == [("a", 502)]

    run(work())


def test_where_nobody_takes_it_the_first_error_stands(tmp_path: Path) -> None:
    async def work() -> None:
        async with two(tmp_path, CUT, says(WHOLE)) as made:
            assert made.cross(method=b"GET")[0]
            await until(lambda: made.ends.failed)
            (failed,) = made.ends.failed
            (gate,) = made.upstream.doors._gates.values()
            other = gate.doors["b"]
            other.busy = int(other.window.size)
            caller = Caller(made, "GET", [b"abc"])
            await made.desk.passthrough.again(failed, caller.scope, caller.receive, caller.send)
            assert caller.answer()[0] == 502
            late = Failed(failed.passage, failed.door, b"", failed.error, monotonic() - 1)
            other.busy = 0
            await made.desk.passthrough.again(late, caller.scope, caller.receive, caller.send)
            assert caller.answer()[0] == 502

    run(work())


# -- by ASGI -----------------------------------------------------------------------------------------------


def test_a_broken_get_without_a_body_is_asked_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with two(tmp_path, CUT, says(WHOLE)) as made:
            made.last("b")
            assert await Caller(made, "GET", []).ask() == (200, b"ok")
            assert statuses(made) == [("a", 502), ("b", 200)]

    run(work())


@pytest.mark.parametrize(("method", "parts"), [("POST", []), ("PUT", [b"ab", b"c"]), ("POST", [b"abc"])])
def test_what_has_a_body_or_is_not_idempotent_is_not(tmp_path: Path, method: str, parts: list[bytes]) -> None:
    async def work() -> None:
        async with two(tmp_path, CUT, says(WHOLE)) as made:
            made.last("b")
            status, _ = await Caller(made, method, parts).ask()
            assert status == 502
            assert statuses(made) == [("a", 502)]

    run(work())


def test_a_stream_that_breaks_is_not_begun_anew(tmp_path: Path) -> None:
    async def work() -> None:
        async with two(tmp_path, says(STREAM, close=True), says(WHOLE)) as made:
            made.last("b")
            status, body = await Caller(made, "GET", []).ask()
            assert (status, body) == (200, b"ab")
            assert all(each["replica"] != "b" for record in made.records() for each in record["attempts"])

    run(work())


def test_an_overloaded_version_is_told_and_recorded(tmp_path: Path) -> None:
    async def work() -> None:
        async with two(tmp_path, CUT, CUT) as made:
            (gate,) = made.upstream.doors._gates.values()
            for door in gate.doors.values():
                door.busy = int(door.window.size)
            assert not made.cross()[0]
            caller = Caller(made, "POST", [b"abc"])
            status, body = await caller.ask()
            assert (status, b'"overloaded"' in body) == (503, True)
            assert (b"retry-after", b"1") in caller.sent[0]["headers"]
            (record,) = made.records()
            assert (record["status"], record["attempts"]) == (503, [])

    run(work())


def test_replicas_that_answer_429_get_a_smaller_window(tmp_path: Path) -> None:
    async def work() -> None:
        busy = b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n"
        async with two(tmp_path, says(busy), CUT) as made:
            before = made.door.window.size
            assert made.cross()[0]
            await until(lambda: made.ends.answers)
            assert made.ends.answers[0][0] == 429
            assert made.door.window.size < before
            assert not made.door.health.errors

    run(work())
