"""The lane without ASGI on real sockets: the same bytes as by the ASGI front, order, limits, ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from services import lane as limits
from services.frame import decode_answer, encode_request
from services.front import Front
from services.lane import Lane
from services.protocol import HEAD, LaneProtocol
from services.server import ReplicaServer
from services.session import Session
from tests.services.lanes import Slow, X, behind, gather, opened

FRAME = encode_request([("x", X)])
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


def lean(body: bytes) -> bytes:
    """As our routers write it."""
    return b"POST /_pm/infer HTTP/1.1\r\nhost: replica\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def other(body: bytes) -> bytes:
    """The same by a head that is not read by hand."""
    return b"POST /_pm/infer HTTP/1.1\r\ncontent-length: %d\r\nhost: replica\r\n\r\n" % len(body) + body


class Counted(Front):
    """Counts what comes by ASGI."""

    calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += scope["type"] == "http"
        await super().__call__(scope, receive, send)


class Served:
    """A front on a Unix socket in this process, and connections to it."""

    def __init__(self, session: Session, path: Path, http: Any, keep_alive_s: int) -> None:
        self.front = Counted(behind, Lane(session))
        self.server = ReplicaServer(self.front, {"uds": str(path)}, keep_alive_s=keep_alive_s, drain_s=5)
        self.server.config.http = http
        self.path = path

    async def connect(self) -> tuple[Reader, Writer]:
        return await asyncio.open_unix_connection(str(self.path))

    def protocol(self) -> LaneProtocol:
        """The one connection's."""
        [found] = self.server.server_state.connections
        assert isinstance(found, LaneProtocol)
        return found

    async def say(self, data: bytes) -> bytes:
        """All that comes back on a connection that sends `data` and then says it has no more."""
        reader, writer = await self.connect()
        writer.write(data + b"GET /end HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer


@contextlib.asynccontextmanager
async def serving(
    session: Session, *, http: Any = LaneProtocol, keep_alive_s: int = 3600
) -> AsyncIterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        served = Served(session, Path(folder) / "s", http, keep_alive_s)
        running = asyncio.create_task(served.server._serve())
        try:
            await until(lambda: served.server.started or running.done())
            yield served
        finally:
            served.server.should_exit = True
            await running


async def until(true: Callable[[], object]) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while not true():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.001)


async def reply(reader: Reader) -> tuple[int, bytes, bytes]:
    """The next answer: status, head, body."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return int(head.split()[1]), head, await reader.readexactly(length)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(bounded())


def timeless(answer: bytes) -> bytes:
    """An answer without the microseconds in its frame."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"x-pointsman-frame" not in head:
        return answer
    return head + repr({name: a.tolist() for name, a in decode_answer(body).tensors.items()}).encode()


def test_both_ways_in_give_the_same_bytes() -> None:
    async def test() -> None:
        bodies = [
            FRAME,
            b"",
            b"rubbish",
            encode_request([("q", X)]),
            encode_request([("x", X[0])]),
            encode_request([("x", X)], outputs=["z"]),
            encode_request([("x", X)], deadline_ms=0),
        ]
        async with serving(opened()) as served:
            for draining in (False, True):
                served.front.lane.draining = draining
                for body in bodies:
                    found = []
                    for head in (lean, other):
                        before = served.front.calls
                        reader, writer = await served.connect()
                        writer.write(head(body))
                        status, top, answer = await reply(reader)
                        found.append((status, timeless(top + answer)))
                        assert served.front.calls - before == (head is other)
                        assert (b"connection: close" in top) == draining
                        if draining:
                            assert await reader.read() == b""
                        writer.close()
                    assert found[0] == found[1]
            # Not by accident the same: the statuses are the lane's.
        async with serving(gather()) as served:
            for head in (lean, other):
                answer = await served.say(head(encode_request([("x", np.array([9]))])))
                assert answer.startswith(b"HTTP/1.1 500 ")
                assert b"model_error" in answer

    run(test())


HEADS = [
    HEAD + b"+8\r\n\r\n12345678",
    HEAD + b" 8\r\n\r\n12345678",
    HEAD + b"8 \r\n\r\n12345678",
    HEAD + b"0_8\r\n\r\n12345678",
    HEAD + b"-8\r\n\r\n12345678",
    HEAD + b"\r\n\r\n12345678",
    HEAD + b"0x8\r\n\r\n12345678",
    HEAD + b"\xb2\r\n\r\n12345678",
    HEAD + b"008\r\n\r\n12345678",
    HEAD + b"0000000000008\r\n\r\n12345678",
    HEAD + b"99999999999999999999\r\n\r\n12345678",
    HEAD + b"8, 8\r\n\r\n12345678",
    HEAD + b"8\r\ncontent-length: 8\r\n\r\n12345678",
    HEAD + b"8\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    HEAD + b"8\r\nconnection: close\r\n\r\n12345678",
    HEAD + b"8\n\n12345678",
    HEAD + b"101\r\n\r\n" + b"x" * 101,
    HEAD + b"0\r\n\r\n",
    HEAD.replace(b"POST", b"post") + b"8\r\n\r\n12345678",
    HEAD.replace(b"1.1", b"1.0") + b"8\r\n\r\n12345678",
    HEAD.replace(b"_pm", b"x/../_pm") + b"8\r\n\r\n12345678",
    HEAD.replace(b"content-length", b"transfer-encoding") + b"chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    b"POST /_pm/infer HTTP/1.1\r\nhost: replica\r\nexpect: 100-continue\r\ncontent-length: 8\r\n\r\n12345678",
    b"GET /_pm/stats HTTP/1.1\r\nhost: replica\r\n\r\n",
    b"GET /_pm/infer HTTP/1.1\r\nhost: replica\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nhost: replica\r\ncontent-length: 8\r\n\r\n12345678",
    b"\r\n" + lean(b"12345678"),
    b"\x16\x03\x01 no http",
    lean(b"12345678") + other(b"12345678") + lean(b"12345678"),
    other(b"12345678") + lean(b"12345678"),
]


def test_every_other_head_is_answered_as_uvicorn_alone_answers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BODY", 100)

    async def test() -> None:
        async with serving(opened()) as ours, serving(opened(), http="httptools") as plain:
            for head in HEADS:
                found, wanted = await ours.say(head), await plain.say(head)
                assert found == wanted, head
                assert found.startswith(b"HTTP/1.1 "), head

    run(test())


@pytest.mark.parametrize("pieces", ["head and body", "in the body", "bytes", "in the head", "in the length"])
def test_a_request_in_pieces_is_one_request(pieces: str) -> None:
    async def test() -> None:
        async with serving(opened()) as served:
            reader, writer = await served.connect()
            data = lean(FRAME)
            start = len(data) - len(FRAME)
            parts = {
                "head and body": [data[:start], data[start:]],
                "in the body": [data[: start + 1], data[start + 1 : -1], data[-1:]],
                "bytes": [data[: start + 1], *(data[at : at + 1] for at in range(start + 1, len(data)))],
                "in the head": [data[:20], data[20:]],
                "in the length": [data[: len(HEAD) + 2], data[len(HEAD) + 2 :]],
            }[pieces]
            for round_ in (1, 2):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                status, _, answer = await reply(reader)
                assert status == 200
                np.testing.assert_array_equal(decode_answer(answer).tensors["y"], X)
                assert served.front.calls == (round_ if pieces in ("in the head", "in the length") else 0)
            writer.close()

    run(test())


def test_pipelined_requests_are_answered_in_order_across_thread_loop_and_asgi() -> None:
    async def test() -> None:
        session = Slow()
        async with serving(session) as served:
            reader, writer = await served.connect()
            session.gate.clear()
            data = b"".join(lean(encode_request([("x", X + at)])) for at in range(20))
            writer.write(data + b"GET /a HTTP/1.1\r\nhost: r\r\n\r\n" + lean(encode_request([("x", X + 20)])))
            await until(lambda: session.threads)
            writer.write(b"GET /b HTTP/1.1\r\nhost: r\r\n\r\n")
            await until(lambda: served.protocol().flow.read_paused)
            session.takes = 10  # after the first, which is held up, all run on the loop
            session.gate.set()
            for at in range(20):
                np.testing.assert_array_equal(decode_answer((await reply(reader))[2]).tensors["y"], X + at)
            assert served.front.calls <= 1
            assert (await reply(reader))[::2] == (418, b"/a")
            np.testing.assert_array_equal(decode_answer((await reply(reader))[2]).tensors["y"], X + 20)
            assert (await reply(reader))[::2] == (418, b"/b")
            assert len(set(session.threads)) == 2
            writer.close()

    run(test())


def test_many_requests_in_one_piece_let_others_in_between() -> None:
    async def test() -> None:
        session = opened()
        async with serving(session) as served:
            (answers, many), (reader, one) = await served.connect(), await served.connect()
            one.write(lean(FRAME))
            await reply(reader)  # from now on the calls are known to be short, and run on the loop
            many.write(lean(FRAME) * 500)
            one.write(lean(FRAME))
            await reply(reader)
            assert session.stats.requests < 500
            for _ in range(500):
                assert (await reply(answers))[0] == 200
            many.close()
            one.close()

    run(test())


def test_a_caller_that_does_not_read_is_not_computed_for() -> None:
    async def test() -> None:
        session = opened()
        async with serving(session) as served:
            reader, writer = await served.connect()
            body = encode_request([("x", np.zeros((40_000, 3), np.float32))])
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            total = 40
            writer.write(lean(body) * total)
            await until(lambda: served.protocol().flow.write_paused and served.protocol().flow.read_paused)
            assert session.stats.requests < total
            reader._transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(total):
                assert (await reply(reader))[0] == 200
            assert session.stats.requests == total
            assert not served.protocol().flow.read_paused
            writer.close()

    run(test())


def test_a_caller_that_hangs_up_while_it_waits_is_not_computed_for() -> None:
    async def test() -> None:
        session = Slow()
        async with serving(session) as served:
            session.gate.clear()
            reader, first = await served.connect()
            first.write(lean(FRAME))
            await until(lambda: session.threads)
            _, second = await served.connect()
            second.write(lean(FRAME))
            await until(lambda: served.front.lane._waiting == 2)
            second.close()
            await until(lambda: served.front.lane._waiting == 1)
            session.gate.set()
            assert (await reply(reader))[0] == 200
            first.write(lean(FRAME))
            assert (await reply(reader))[0] == 200
            assert len(session.threads) == 2
            first.close()

    run(test())


def test_draining_ends_idle_connections_and_answers_requests_under_way() -> None:
    async def test() -> None:
        session = Slow()
        async with serving(session) as served:
            idle, partial, job = [await served.connect() for _ in range(3)]
            idle[1].write(lean(FRAME))
            await reply(idle[0])
            whole = lean(FRAME)
            partial[1].write(whole[:-5])
            session.gate.clear()
            job[1].write(whole)
            await until(lambda: len(session.threads) == 2)
            served.server.should_exit = True
            assert await idle[0].read() == b""
            partial[1].write(whole[-5:] + whole)  # a second request, which may not be begun any more
            session.gate.set()
            for reader, writer in (partial, job):
                status, head, _ = await reply(reader)
                assert (status, b"connection: close" in head) == (200, True)
                assert await reader.read() == b""
                writer.close()
            assert len(session.threads) == 3
            idle[1].close()

    run(test())


def test_an_idle_connection_is_closed_in_the_end_and_a_busy_one_is_not() -> None:
    async def test() -> None:
        session = opened()
        async with serving(session, keep_alive_s=100) as served:
            now = [0.0]
            served.front.lane.clock = lambda: now[0]
            reader, writer = await served.connect()

            async def ask() -> None:
                writer.write(lean(FRAME))
                assert (await reply(reader))[0] == 200

            await ask()
            protocol = served.protocol()
            timer = protocol.timeout_keep_alive_task
            assert timer is not None
            now[0] = 70.0
            await ask()
            assert protocol.timeout_keep_alive_task is timer  # none a request
            now[0] = 100.0
            protocol.timeout_keep_alive_handler()  # as the timer does
            again = protocol.timeout_keep_alive_task
            assert again is not None
            assert again is not timer
            assert again.when() - asyncio.get_running_loop().time() == pytest.approx(70, abs=5)
            writer.write(lean(FRAME)[:-1])
            await until(lambda: protocol._missing)
            now[0] = 900.0
            protocol.timeout_keep_alive_handler()
            writer.write(FRAME[-1:])
            assert json.loads((await reply(reader))[2])["code"] == "deadline_exceeded"
            now[0] = 1001.0
            protocol.timeout_keep_alive_handler()
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()

    run(test())
