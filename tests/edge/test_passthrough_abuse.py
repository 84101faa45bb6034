"""Callers who hang up at every stage: nothing leaks, and no answer goes to another caller."""

from __future__ import annotations

import asyncio
import json
import os
import random

from tests.edge.house import House, RouterProcess, settled, until

ABORTS = int(os.environ.get("PM_TEST_ABORTS", "2000"))
AT_ONCE = 40
ROUNDS = 6
SETTLED = 1 << 20  # a round that adds less: the heap has its size; a leak would add to every round
SLACK = 4  # descriptors: a journal segment, an accept that is just under way

HOST = b" HTTP/1.1\r\nhost: t\r\n"
# Each is a beginning of an exchange, after which the caller reads so many bytes and hangs up.
WAYS: tuple[tuple[bytes, int], ...] = (
    (b"POST /models/m/whole?nonce=1" + HOST, 0),
    (b"POST /models/m/whole?nonce=1" + HOST + b"content-length: 1000\r\n\r\n" + b"x" * 500, 0),
    (b"GET /models/m/whole?nonce=1" + HOST + b"\r\n", 0),
    (b"GET /models/m/whole?nonce=1" + HOST + b"\r\n", 10),
    (b"GET /models/m/big?n=3000000" + HOST + b"\r\n", 0),
    (b"GET /models/m/big?n=3000000" + HOST + b"\r\n", 200_000),
    (b"GET /models/m/sse?n=5&gate=1&id=never" + HOST + b"\r\n", 50),
    (b"GET /models/m/silent?id=never" + HOST + b"\r\n", 0),
    (b"POST /models/m/echo" + HOST + b"transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n", 60),
    (b"POST /models/m/sink?id=never" + HOST + b"content-length: 900000\r\n\r\n" + b"x" * 300_000, 0),
    (
        b"GET /models/m/ws"
        + HOST
        + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        + b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        20,
    ),
)


async def abort(port: int, request: bytes, size: int) -> None:
    """Begins an exchange and leaves."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if size:
            await asyncio.wait_for(reader.readexactly(size), 20)
    finally:
        writer.transport.abort()


async def crowd(port: int, count: int) -> None:
    """So many of them, a bounded number at once."""
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await abort(port, *WAYS[number % len(WAYS)])

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def test_aborted_requests_leave_nothing_behind(house: House, router: RouterProcess) -> None:
    def replicas() -> int:
        return sum(house.neighbours[name].process.poll() is None for name in "abc")

    asyncio.run(crowd(router.port, 1000))
    base = settled(router.fds, looks=50)
    seen = {name: seats(house, name) for name in "ab"}
    grown: list[int] = []
    while not grown or grown[-1] > SETTLED:
        assert len(grown) < ROUNDS, f"every round of {ABORTS} grows: {grown}"
        memory = router.watched.memory_info().rss
        asyncio.run(crowd(router.port, ABORTS))
        until(lambda: router.fds() <= base + SLACK, 20)
        grown.append(router.watched.memory_info().rss - memory)
    told = ", ".join(f"{each >> 10} KiB" for each in grown)
    print(f"\n{len(grown)} × {ABORTS} aborts: {base} → {router.fds()} descriptors, {told}")
    assert replicas() == 3
    # The replicas see everybody leave, too.
    for name in "ab":
        until(lambda name=name: seats(house, name) <= seen[name] + SLACK, 20)  # type: ignore[misc]
    # No slot is held: both replicas still get their share, and nobody waits.
    got = {router.client.get("/models/m/whole").json()["replica"] for _ in range(5)}
    assert got <= {"a", "b"}
    held = [router.wire() for _ in range(6)]
    try:
        for wire in held:
            wire.ask("GET", "/models/m/sse?n=2&gate=1&id=held")
            wire.head()
        taken = sorted(wire.until(b"}").decode().partition('replica": "')[2][0] for wire in held)
        assert taken == ["a", "a", "a", "b", "b", "b"]  # least in flight first: the counts are right
    finally:
        for wire in held:
            wire.socket.close()


def seats(house: House, name: str) -> int:
    """Open descriptors of a replica's process."""
    import psutil

    return psutil.Process(house.neighbours[name].process.pid).num_fds()


async def ask(port: int, dice: random.Random, wrong: list[str]) -> int:
    """One caller's requests on kept-alive connections, some left at a random moment; how many were answered."""
    answered = 0
    reader = writer = None
    for _ in range(60):
        if writer is None or reader is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        nonce = dice.randbytes(8).hex()
        body = dice.randbytes(dice.choice((0, 10, 3000)))
        path = dice.choice(("whole", "whole/x", "echo"))
        writer.write(b"POST /models/m/%b?nonce=%b" % (path.encode(), nonce.encode()) + HOST)
        writer.write(b"x-request-id: %b\r\n" % nonce.encode())
        if path == "echo":
            body = nonce.encode() + body
        writer.write(b"content-length: %d\r\n\r\n" % len(body))
        leave = dice.random()
        if leave < 0.15:
            writer.write(body[: len(body) // 2])
            await asyncio.sleep(dice.random() * 0.003)
            writer.transport.abort()
            writer = None
            continue
        writer.write(body)
        if leave < 0.35:
            await asyncio.sleep(dice.random() * 0.003)  # anywhere between the request and its answer
            writer.transport.abort()
            writer = None
            continue
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        if f"x-request-id: {nonce}".encode() not in head:
            wrong.append(f"{nonce}: {head!r}")
        if path == "echo":
            size = int(await reader.readuntil(b"\r\n"), 16)
            got = await reader.readexactly(size)
            await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
            if not got.startswith(nonce.encode()):
                wrong.append(f"{nonce}: {got[:20]!r}")
        else:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            told = json.loads(await reader.readexactly(length))
            if told["nonce"] != nonce:
                wrong.append(f"{nonce}: {told['nonce']}")
        answered += 1
    if writer is not None:
        writer.transport.abort()
    return answered


def test_no_answer_goes_to_the_wrong_caller(router: RouterProcess) -> None:
    wrong: list[str] = []

    async def everybody() -> list[int]:
        callers = (ask(router.port, random.Random(seed), wrong) for seed in range(AT_ONCE))
        return await asyncio.gather(*callers)

    answered = sum(asyncio.run(everybody()))
    assert wrong == []
    assert answered > AT_ONCE * 60 * 0.5


def test_every_answer_is_recorded_once(house: House, router: RouterProcess) -> None:
    """Whole and streamed ones, under concurrency and hang-ups: no answer without a record, none twice."""
    mark = os.urandom(4).hex()

    async def one(number: int) -> str | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port, limit=1 << 20)
        name = f"{mark}-{number}"
        path = ("whole", "big?n=100000", "sse?n=3")[number % 3].encode()
        writer.write(b"GET /models/m/" + path + HOST + b"x-request-id: %b\r\n\r\n" % name.encode())
        if number % 4 == 3:
            await asyncio.sleep(random.random() * 0.004)
            writer.transport.abort()
            return None
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        if b"chunked" in head:
            await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 20)
        writer.transport.abort()
        return name

    async def everybody() -> list[str | None]:
        found: list[str | None] = []
        for start in range(0, 600, AT_ONCE):
            found += await asyncio.gather(*(one(number) for number in range(start, start + AT_ONCE)))
        return found

    answered = asyncio.run(everybody())
    assert sum(name is not None for name in answered) >= 400
    for number, name in enumerate(answered):
        if name is not None:
            assert house.record(name)["status"] == 200
        else:
            assert len(house.records(f"{mark}-{number}")) <= 1
