"""Callers that hang up at any moment, on both lanes: no connection, descriptor, place or byte of theirs stays."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import psutil

from loadtests.caller import Load, digit_rows
from loadtests.fleet import Fleet, wait_for
from loadtests.proofs.figures import Figures
from loadtests.proofs.flips import PATH

PASSED = "/models/digits/predict"
TOGETHER = 50
LONGEST_S = 0.06
GROWTH = 24 << 20
GAUGES = ("pointsman_queue_requests", "pointsman_replicas_busy", "pointsman_pass_exchanges")
SPARE = 8  # descriptors: connections to replicas and Redis that come and go


async def hung_up(fleet: Fleet, count: int, *, seed: int = 20261124) -> Figures:
    """`count` requests whose callers leave before, in or after the head, the body or the answer."""
    (body,) = digit_rows(1)
    await settled(fleet, body)
    process = psutil.Process(fleet.status()["routers"][0]["pid"])
    await storm(fleet, body, max(count // 10, TOGETHER), random.Random(seed))  # its buffers are made by now
    await settled(fleet, body)
    files, memory = process.num_fds(), process.memory_info().rss
    answered = await storm(fleet, body, count, random.Random(seed + 1))
    await settled(fleet, body)
    await asyncio.to_thread(wait_for, lambda: process.num_fds() <= files + SPARE, 20)
    grown = process.memory_info().rss - memory
    assert grown < GROWTH, grown
    assert 0 < answered < count, "all of them left at the same point: it proves little"
    return {
        "hung up": count - answered,
        "answered meanwhile": answered,
        "connections left": 0,
        "places left": 0,
        "descriptors more": max(process.num_fds() - files, 0),
        "memory growth MiB": round(grown / (1 << 20), 1),
    }


async def storm(fleet: Fleet, body: bytes, count: int, dice: random.Random) -> int:
    """Asks and leaves, fifty at a time; how many had their answer before."""
    found = 0
    for _ in range(count // TOGETHER):
        found += sum(await asyncio.gather(*[one(fleet.port, body, dice) for _ in range(TOGETHER)]))
    return found


async def one(port: int, body: bytes, dice: random.Random) -> int:
    """One caller; 1 if the answer was there before it left."""
    path, patience = dice.choice((PATH, PASSED)), dice.uniform(0, LONGEST_S)
    whole = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        path.encode(), len(body), body,
    )  # fmt: skip
    sent = whole if dice.random() < 0.7 else whole[: dice.randrange(len(whole))]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                return int(bool(await reader.read(1)))
        return 0
    finally:
        writer.transport.abort()


async def settled(fleet: Fleet, body: bytes) -> None:
    """Until no place is taken any more; then honest callers are answered as ever."""
    await asyncio.to_thread(wait_for, lambda: not any(taken(fleet).values()), 30, lambda: str(taken(fleet)))
    load = Load(fleet.port, PATH, [body], 4)
    load.start(40)
    assert {each.status for each in await load.finished()} == {200}
    await asyncio.to_thread(wait_for, lambda: not any(taken(fleet).values()), 30, lambda: str(taken(fleet)))


def taken(fleet: Fleet) -> dict[str, float]:
    """The gauges that must be 0 while nobody asks."""
    found: dict[str, float] = {}
    for line in fleet.control.get("/metrics").text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in (*GAUGES, "pointsman_connections"):
            found[name] = found.get(name, 0.0) + float(line.rpartition(" ")[2])
    return found
