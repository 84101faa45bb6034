"""The watch over a real process that hangs, works for long, stands still or grows; what it does is scripted."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from router.agent.health import Care
from router.agent.logs import replica_log
from router.agent.place import Place
from router.agent.process import Process
from router.agent.pulse import Pulse, Trouble
from router.agent.replica_process import LoadFailed, ReplicaProcess

CARE = Care(every_s=0.1, misses=2, stopped_misses=2, deep_s=0.1, busy_s=30.0)

# Answers /_pm/stats at once; /readyz as its first word says. The second: MiB it takes when it gets SIGUSR1.
REPLICA = """
import asyncio, signal, sys, time
how, socket, mib = sys.argv[1:]
kept = []
first = True

def burn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

async def serve(reader, writer):
    global first
    path = (await reader.readuntil(b"\\r\\n\\r\\n")).split()[1]
    if path == b"/readyz" and not first:
        if how == "deadlocked":
            await asyncio.sleep(3600)
        if how == "working":
            await asyncio.to_thread(burn, 1.5)
        if how == "broken":
            writer.write(b"HTTP/1.1 503 x\\r\\ncontent-length: 0\\r\\n\\r\\n")
            writer.close()
            return
    first = first and path != b"/readyz"
    writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
    writer.close()

async def main():
    grow = lambda: kept.append(bytes(range(256)) * (int(mib) << 12))
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, grow)
    if how == "large":
        grow()
    async with await asyncio.start_unix_server(serve, socket):
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@asynccontextmanager
async def scripted(place: Place, how: str, mib: int = 0) -> AsyncIterator[ReplicaProcess]:
    """A warm replica that behaves as `how` says."""
    socket = str(place.socket("abcdefgh"))
    argv = [sys.executable, "-c", REPLICA, how, socket, str(mib)]
    log = replica_log(place.logs, "m-1-abcdefgh")
    process = Process.start(argv, env=os.environ, log=log)
    try:
        yield ReplicaProcess("m-1-abcdefgh", place, process)
    finally:
        process.send(signal.SIGKILL)
        await process.wait(5)


async def watched(replica: ReplicaProcess, care: Care, seconds: float) -> Trouble | None:
    """The first trouble within so many seconds; None where there was none."""
    pulse = Pulse(replica, care, lambda: False)
    await pulse.loaded(10)
    try:
        async with asyncio.timeout(seconds):
            return await pulse.trouble()
    except TimeoutError:
        return None
    finally:
        pulse.close()


def test_a_model_that_is_deadlocked_is_seen_although_the_loop_answers(place: Place) -> None:
    async def scene() -> None:
        async with scripted(place, "deadlocked") as replica:
            found = await watched(replica, CARE, 5)
            assert found is not None
            assert (found.kind, found.gently) == ("hung", False)
            assert "did nothing" in found.text

    asyncio.run(scene())


def test_a_long_call_that_works_is_left_alone(place: Place) -> None:
    async def scene() -> None:
        async with scripted(place, "working") as replica:
            assert await watched(replica, CARE, 4) is None
        async with scripted(place, "working") as replica:
            found = await watched(replica, replace(CARE, busy_s=0.5), 4)
            assert found is not None
            assert "busy" in found.text

    asyncio.run(scene())


def test_one_that_says_it_is_not_ready_is_replaced(place: Place) -> None:
    async def scene() -> None:
        async with scripted(place, "broken") as replica:
            found = await watched(replica, CARE, 5)
            assert found is not None
            assert found.kind == "hung"

    asyncio.run(scene())


def test_a_stopped_one_is_seen_and_one_that_ended_is_no_trouble(place: Place) -> None:
    async def scene() -> None:
        async with scripted(place, "well") as replica:
            pulse = Pulse(replica, CARE, lambda: False)
            await pulse.loaded(10)
            replica.process.send(signal.SIGSTOP)
            async with asyncio.timeout(5):
                found = await pulse.trouble()
            assert found is not None
            assert "was stopped" in found.text
            replica.kill()
            async with asyncio.timeout(5):
                assert await pulse.trouble() is None
            pulse.close()

    asyncio.run(scene())


def test_memory_is_told_once_gently_and_then_at_once(place: Place) -> None:
    async def scene() -> None:
        async with scripted(place, "well", 24) as replica:
            first = Pulse(replica, CARE, lambda: False)
            await first.loaded(10)
            seen = replica.vitals()
            assert seen is not None
            limit = seen.rss + (10 << 20)
            care = replace(CARE, memory_bytes=max(limit, 120 << 20))
            grown = max(0, (care.memory_bytes - seen.rss) // (24 << 20)) + 1
            pulse = Pulse(replica, care, lambda: False)
            told = []
            async with asyncio.timeout(10):
                for _ in range(grown):
                    replica.process.send(signal.SIGUSR1)
                    await _grown(replica, 20)
                told.append(await pulse.trouble())
                for _ in range(3):
                    replica.process.send(signal.SIGUSR1)
                    await _grown(replica, 20)
                told.append(await pulse.trouble())
            assert [each is not None and (each.kind, each.gently) for each in told] == [
                ("memory", True),
                ("memory", False),
            ]

    asyncio.run(scene())


async def _grown(replica: ReplicaProcess, mib: int) -> None:
    """Returns once it holds so much more than now; signals of one kind do not queue."""
    before = replica.vitals()
    while (now := replica.vitals()) is not None and before is not None:
        if now.rss >= before.rss + (mib << 20):
            return
        await asyncio.sleep(0.01)


def test_one_that_is_too_large_from_the_start_does_not_load(place: Place) -> None:
    async def scene() -> None:
        async with scripted(place, "large", 64) as replica:
            pulse = Pulse(replica, replace(CARE, memory_bytes=32 << 20), lambda: False)
            with pytest.raises(LoadFailed, match="over its limit of 32 MiB"):
                await pulse.loaded(10)

    asyncio.run(scene())
