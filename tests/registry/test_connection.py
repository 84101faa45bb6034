"""Connections under stress: a restart, a cancelled caller, a slow line; the next answer is always one's own."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from loadtests.redis_servers import ClusterServers, Sentinels, Server, SlowLine
from router.registry import keys
from router.registry.change import Change
from router.registry.connection import close, connect
from router.registry.registry import Registry
from tests.registry.conftest import until


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that a test may stop and start."""
    made = Server(appendfsync="always")
    made.start()
    yield made
    made.close()


def test_after_a_restart_the_next_command_works_and_scripts_are_known(server: Server) -> None:
    async def story() -> None:
        registry = Registry(connect(server.url, timeout=1.0))
        first = await registry.commit(Change("m"))
        await asyncio.gather(
            *(registry.revision() for _ in range(20))
        )  # many idle connections, all about to die
        server.kill()
        with pytest.raises(RedisConnectionError):
            await registry.revision()
        server.start()
        began = time.monotonic()
        assert await registry.commit(Change("m")) == first + 1
        assert await asyncio.gather(*(registry.revision() for _ in range(20))) == [first + 1] * 20
        assert time.monotonic() - began < 1.0
        await registry.close()

    asyncio.run(story())


def test_a_server_that_hangs_is_a_time_out_and_no_more(server: Server) -> None:
    async def story() -> None:
        registry = Registry(connect(server.url, timeout=0.3))
        await registry.revision()
        server.signal(signal.SIGSTOP)
        try:
            for _ in range(2):  # by an open connection, and by a new one that the kernel accepts
                began = time.monotonic()
                with pytest.raises((RedisTimeoutError, RedisConnectionError)):
                    await registry.revision()
                assert time.monotonic() - began < 1.0
        finally:
            server.signal(signal.SIGCONT)
        assert await registry.revision() >= 0
        await registry.close()

    asyncio.run(story())


async def cancelled_callers(url: str, line: SlowLine | None = None) -> None:
    """Callers that leave in the middle of a command: what they had asked is answered to nobody else."""
    redis: Any = connect(url, timeout=2.0)
    names = [f"{keys.TAG}:echo:{n}" for n in range(40)]
    for name in names:
        await redis.set(name, name)
    for turn in range(12):
        tasks = [asyncio.ensure_future(redis.get(name)) for name in names]
        if line is not None:
            line.delay = 0.02
        # After so many turns of the loop some are connecting, some have sent, some are reading.
        for _ in range(turn):
            await asyncio.sleep(0)
        if line is not None and turn % 2:
            await asyncio.sleep(0.005 * turn)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for name, answer in zip(names[1::2], answers[1::2], strict=True):
            assert answer == name.encode()
        again = await asyncio.gather(*(redis.get(name) for name in names))
        assert again == [name.encode() for name in names]
    await close(redis)


def test_a_cancelled_caller_leaves_no_answer_behind(server: Server) -> None:
    line = SlowLine(server.port)
    try:
        asyncio.run(cancelled_callers(line.url, line))
    finally:
        line.close()


def test_nor_behind_sentinels(sentinels: Sentinels) -> None:
    asyncio.run(cancelled_callers(sentinels.url))


def test_nor_in_a_cluster(cluster: ClusterServers) -> None:
    asyncio.run(cancelled_callers(cluster.url))


def test_half_a_second_of_latency_delays_and_breaks_nothing(server: Server) -> None:
    line = SlowLine(server.port)

    async def story() -> None:
        registry = Registry(connect(line.url, timeout=1.5))
        before = await registry.commit(Change("m"))
        line.delay = 0.5
        began = time.monotonic()
        assert await registry.commit(Change("m")) == before + 1
        assert 0.5 <= time.monotonic() - began < 1.5
        line.delay = 0.0

        async def quick() -> bool:
            began = time.monotonic()
            await registry.revision()
            return time.monotonic() - began < 0.1

        await until(quick, 2.0)
        await registry.close()

    try:
        asyncio.run(story())
    finally:
        line.close()
