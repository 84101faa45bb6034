"""One streamed exchange against replicas that answer byte by byte as told, also wrongly."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from router.documents import Replica, Version
from router.errors import Unavailable
from router.route.table import Target
from router.upstream.doors import Doors
from router.upstream.link import LinkFailed
from router.upstream.pipe import open_pipe
from router.upstream.stream import HEAD_LIMIT, HIGH_WATER, Stream, open_stream
from router.upstream.work import Attempt

ASK = b"GET / HTTP/1.1\r\nhost: r\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def replica(serve: Serve) -> AsyncIterator[str]:
    """A server on a socket of its own; the address."""
    folder = Path(tempfile.mkdtemp(prefix="pm"))
    running: set[asyncio.Task[None]] = set()

    async def each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, RuntimeError):
            pass  # the gateway hung up: some tests want that (uvloop calls a write after it a RuntimeError)
        finally:
            writer.close()
            running.discard(task)

    server = await asyncio.start_unix_server(each, str(folder / "s"))
    try:
        yield f"unix:{folder}/s"
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        os.unlink(folder / "s")
        folder.rmdir()


def says(*answers: bytes, close: bool = False) -> Serve:
    """Reads a request's head, says the next answer; closes at the end, or stays."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        if not close:
            await reader.read()

    return serve


class Transport:
    """What a stream needs of a transport, and whether it was told to wait."""

    def __init__(self) -> None:
        self.paused = False

    def waits(self) -> bool:
        """Whether it was told to."""
        return self.paused

    def write(self, data: bytes) -> None:
        """Only the request."""
        assert data == ASK

    def is_closing(self) -> bool:
        """Never."""
        return False

    def pause_reading(self) -> None:
        """asyncio's."""
        self.paused = True

    def resume_reading(self) -> None:
        """asyncio's."""
        self.paused = False


def run(work: Coroutine[Any, Any, None]) -> None:
    """On the loop that routers run on, within ten seconds."""

    async def bounded() -> None:
        async with asyncio.timeout(10):
            await work

    uvloop.run(bounded())


async def exchange(stream: Stream, *, bodyless: bool = False) -> tuple[int, dict[bytes, bytes], bytes]:
    stream.start(ASK, bodyless=bodyless)
    await stream.head()
    headers, parts = dict(stream.headers), []
    while (part := await stream.chunk()) is not None:
        parts.append(part)
    return stream.status, headers, b"".join(parts)


def test_answers_in_every_framing() -> None:
    async def work() -> None:
        answers = (
            OK + b"content-length: 3\r\n\r\nabc",
            OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No\r\n\r\n",
            b"HTTP/1.1 304 No\r\ncontent-length: 7\r\n\r\n",
            OK + b"content-length: 0\r\n\r\n",
        )
        async with replica(says(*answers)) as address:
            stream = await open_stream(address)
            assert (await exchange(stream))[2] == b"abc"
            assert (await exchange(stream))[2] == b"def"
            assert (await exchange(stream))[::2] == (204, b"")
            assert (await exchange(stream))[::2] == (304, b"")
            assert stream.empty
            assert (await exchange(stream))[2] == b""
            assert stream.reusable
            stream.close()

    run(work())


def test_an_answer_that_ends_with_its_connection_is_whole_only_if_it_was_closed() -> None:
    async def work() -> None:
        async with replica(says(OK + b"\r\nabc", close=True)) as address:
            stream = await open_stream(address)
            assert (await exchange(stream))[2] == b"abc"
            assert not stream.reusable

    run(work())


def test_a_connection_that_broke_is_no_clean_end() -> None:
    async def work() -> None:
        stream = Stream()
        stream.connection_made(Transport())  # type: ignore[arg-type]
        stream.start(ASK, bodyless=False)
        stream.data_received(OK + b"\r\nabc")
        stream.connection_lost(ConnectionResetError("reset"))
        await stream.head()
        assert await stream.chunk() == b"abc"
        with pytest.raises(LinkFailed, match="reset"):
            await stream.chunk()

    run(work())


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 5\r\n\r\nabc",
        OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        OK + b"content-len",
        b"",
    ],
)
def test_a_cut_answer_is_an_error_after_what_arrived(answer: bytes) -> None:
    async def work() -> None:
        async with replica(says(answer, close=True)) as address:
            stream = await open_stream(address)
            with pytest.raises(LinkFailed, match="connection lost"):
                await exchange(stream)
            assert not stream.reusable

    run(work())


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n",
        OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        OK + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        OK + b"x: " + b"y" * HEAD_LIMIT + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    ],
)
def test_what_is_no_answer_fails_and_closes(answer: bytes) -> None:
    async def work() -> None:
        async with replica(says(answer)) as address:
            stream = await open_stream(address)
            with pytest.raises(LinkFailed):
                await exchange(stream)
            assert not stream.reusable

    run(work())


def test_trailers_do_not_become_headers() -> None:
    async def work() -> None:
        body = b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-late: 1\r\nset-cookie: a\r\n\r\n"
        async with replica(says(OK + body)) as address:
            stream = await open_stream(address)
            stream.start(ASK, bodyless=False)
            await stream.head()
            while await stream.chunk() is not None:
                pass
            assert stream.headers == [(b"transfer-encoding", b"chunked")]
            stream.close()

    run(work())


def test_interim_answers_are_skipped() -> None:
    async def work() -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n"
        async with replica(says(interim + OK + b"content-length: 1\r\n\r\na")) as address:
            stream = await open_stream(address)
            assert await exchange(stream) == (200, {b"content-length": b"1"}, b"a")
            assert stream.reusable
            stream.close()

    run(work())


@pytest.mark.parametrize("more", [b"HTTP/1.1 500 No\r\nx-evil: 1\r\ncontent-length: 1\r\n\r\nz", b"junk"])
def test_a_second_answer_in_the_same_packet_changes_nothing_and_ends_the_connection(more: bytes) -> None:
    async def work() -> None:
        async with replica(says(OK + b"content-length: 1\r\n\r\na" + more)) as address:
            stream = await open_stream(address)
            stream.start(ASK, bodyless=False)
            await stream.head()
            assert await stream.chunk() == b"a"
            assert await stream.chunk() is None
            assert (stream.status, stream.headers) == (200, [(b"content-length", b"1")])
            assert not stream.reusable

    run(work())


def test_an_answer_to_head_has_no_body_and_its_connection_is_not_used_again() -> None:
    async def work() -> None:
        async with replica(says(OK + b"content-length: 5\r\n\r\n")) as address:
            stream = await open_stream(address)
            assert await exchange(stream, bodyless=True) == (200, {b"content-length": b"5"}, b"")
            assert stream.empty
            assert not stream.reusable

    run(work())


def test_an_answer_left_lying_makes_its_connection_useless() -> None:
    """Its caller hung up. The transport may be paused, and the next exchange would wait for ever."""

    async def work() -> None:
        stream, transport = Stream(), Transport()
        stream.connection_made(transport)  # type: ignore[arg-type]
        stream.start(ASK, bodyless=False)
        stream.data_received(OK + b"content-length: %d\r\n\r\n" % (2 * HIGH_WATER) + bytes(HIGH_WATER))
        assert transport.waits()
        assert await stream.chunk()
        assert not transport.waits()
        stream.data_received(bytes(HIGH_WATER))
        assert transport.waits()
        left_lying = stream.reusable
        assert not left_lying  # although the answer is all there
        assert await stream.chunk()
        assert await stream.chunk() is None
        assert stream.reusable
        assert not transport.waits()

    run(work())


def test_no_more_is_read_ahead_than_the_high_water_mark() -> None:
    sent = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"content-length: 50000000\r\n\r\n")
        while sent < 50_000_000:
            writer.write(bytes(50_000))
            sent += 50_000
            await writer.drain()
        await reader.read()

    async def work() -> None:
        async with replica(floods) as address:
            stream = await open_stream(address)
            stream.start(ASK, bodyless=False)
            await stream.head()
            last, same = -1, 0
            while same < 50:
                await asyncio.sleep(0.002)
                same, last = (same + 1 if sent == last else 0), sent
            assert sent < 2_000_000  # a read of 256 KiB, and what the kernel holds
            got = 0
            while (part := await stream.chunk()) is not None:
                got += len(part)
            assert got == 50_000_000
            stream.close()

    run(work())


def test_writing_waits_for_the_reader_and_fails_when_it_is_gone() -> None:
    go = asyncio.Event()

    async def reads_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await reader.readexactly(1_000_000)
        writer.transport.abort()

    async def work() -> None:
        async with replica(reads_late) as address:
            stream = await open_stream(address)
            stream.start(b"POST / HTTP/1.1\r\ncontent-length: 9000000\r\n\r\n", bodyless=False)

            async def push() -> None:
                for _ in range(100):
                    await stream.write(bytes(90_000))

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(push(), 0.2)
            go.set()
            with pytest.raises(LinkFailed):
                await push()

    run(work())


# -- doors -------------------------------------------------------------------------------------------------


def target(**addresses: str) -> Target:
    version = Version(model="m", version="1", digest="0" * 64, runtime="bento")
    replicas = tuple(
        Replica(
            id=name,
            model="m",
            version="1",
            digest="0" * 64,
            address=address,
            pid=1,
            node="n",
            state="ready",
            since="",
        )
        for name, address in addresses.items()
    )
    return Target(version, replicas)


def test_cancelled_exchanges_give_back_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 of them, at every stage; what was not over is not used again."""
    monkeypatch.setattr("router.upstream.door.IDLE_KEPT", 16)
    open_now = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(OK + b"content-length: 4\r\n\r\nab")
                await asyncio.sleep(0)
                writer.write(b"cd")
                await writer.drain()
        finally:
            open_now -= 1

    async def work() -> None:
        doors = Doors()
        async with replica(serve) as address:
            to = target(a=address)
            finished = 0

            async def one() -> None:
                nonlocal finished
                async with doors.stream(to, None, []) as (_, stream):
                    assert (await exchange(stream))[2] == b"abcd"
                    finished += 1

            for _ in range(10_000 // 50):
                tasks = [asyncio.ensure_future(one()) for _ in range(50)]
                for number, task in enumerate(tasks):
                    if number % 10 == 0:
                        continue
                    asyncio.get_running_loop().call_later(number % 7 * 0.0005, task.cancel)
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert result is None or isinstance(result, asyncio.CancelledError), result
            assert finished > 100  # not all were cancelled in time
            door = doors._gate(to).doors["a"]
            assert door.busy == 0
            assert len(door._idle) <= 16
            doors.close()
            while open_now:
                await asyncio.sleep(0)

    run(work())


def test_the_least_busy_replica_is_taken_and_an_unreachable_one_noted() -> None:
    async def work() -> None:
        doors = Doors()
        async with replica(says()) as first, replica(says()) as second:
            to = target(a=first, gone="unix:/nowhere/s", b=second)
            attempts: list[Attempt] = []
            taken = []
            async with (
                doors.stream(to, None, attempts) as (one, _),
                doors.stream(to, None, attempts) as (two, _),
            ):
                taken = [one.replica.id, two.replica.id]
            assert sorted(taken) == ["a", "b"]
            assert {(attempt.replica, attempt.error) for attempt in attempts} == {("gone", "unreachable")}
            async with doors.stream(to, "b", attempts) as (wanted, _):
                assert wanted.replica.id == "b"
            with pytest.raises(Unavailable) as raised:
                async with doors.stream(to, "other", attempts):
                    pass
            assert raised.value.code == "replica_gone"
            with pytest.raises(Unavailable) as raised:
                async with doors.stream(target(gone="unix:/nowhere/s"), None, attempts):
                    pass
            assert raised.value.code == "not_ready"
            doors.close()

    run(work())


def test_a_connection_is_kept_for_the_next_exchange_and_not_beyond_its_replica() -> None:
    answer = OK + b"content-length: 1\r\n\r\na"
    accepted = closed = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted, closed
        accepted += 1
        try:
            await says(*([answer] * 5))(reader, writer)
        finally:
            closed += 1

    async def work() -> None:
        doors = Doors()
        async with replica(serve) as address:
            to = target(a=address)
            for _ in range(3):
                async with doors.stream(to, None, []) as (_, stream):
                    await exchange(stream)
            assert accepted == 1
            async with doors.stream(to, None, []) as (_, stream):
                doors.retain({"m"}, set())  # the replica left the table while it answered
                await exchange(stream)
            while closed < 1:
                await asyncio.sleep(0.001)
            assert accepted == 1

    run(work())


def test_a_stream_closed_since_it_was_taken_fails_unsent() -> None:
    async def work() -> None:
        async with replica(says(close=True)) as address:
            stream = await open_stream(address)
            while stream.reusable:
                await asyncio.sleep(0.001)
            with pytest.raises(LinkFailed) as raised:
                stream.start(ASK, bodyless=False)
            assert raised.value.sent is False

    run(work())


# -- pipes -------------------------------------------------------------------------------------------------


def test_a_pipe_gives_a_head_and_keeps_what_follows_for_its_peer() -> None:
    echoed = b"HTTP/1.1 101 S\r\n\r\n"

    async def work() -> None:
        arrived = asyncio.Event()

        async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readexactly(5) == b"frame"
            arrived.set()

        async with replica(says(echoed + b"frame")) as source, replica(sink) as drain:
            one, two = await open_pipe(source), await open_pipe(drain)
            one.write(ASK)
            assert await one.head() == echoed
            one.join(two)
            two.join(one)
            await arrived.wait()
            await one.closed.wait()  # the other side closed: so does this one
            assert one.size == len(echoed) + 5

    run(work())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 101 S\r\n", b"x" * (2 * HEAD_LIMIT)])
def test_a_head_that_does_not_come_is_an_error(answer: bytes) -> None:
    async def work() -> None:
        async with replica(says(answer, close=True)) as address:
            pipe = await open_pipe(address)
            pipe.write(ASK)
            with pytest.raises(LinkFailed):
                await pipe.head()
            pipe.close()

    run(work())
