"""A registry on an emptied real Redis, and a way to run coroutines from plain tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import RedisError

from loadtests.redis_servers import ClusterServers, Sentinels
from router.registry.connection import connect
from router.registry.registry import Registry
from tests.control.conftest import control_redis, redis_url

__all__ = ["control_redis", "redis_url"]

Play = Callable[[Callable[[Registry], Awaitable[Any]]], Any]


@pytest.fixture
def play(redis_url: str) -> Play:
    """Runs `story(registry)` in a loop of its own."""

    def run(story: Callable[[Registry], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            registry = Registry(connect(redis_url))
            try:
                return await asyncio.wait_for(story(registry), 30)
            finally:
                await registry.close()

        return asyncio.run(main())

    return run


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    """Two servers and three sentinels; tests leave both servers running."""
    made = Sentinels()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterServers]:
    """Three primaries with a replica each; tests leave all of them running."""
    made = ClusterServers()
    try:
        made.start()
        yield made
    finally:
        made.close()


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 10.0) -> float:
    """Looks until the condition holds; how long that took. What Redis raises is a no."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        try:
            if await condition():
                return loop.time() - began
        except (RedisError, OSError) as error:
            last: object = error
        else:
            last = "not yet"
        assert loop.time() - began < seconds, f"did not come true in time: {last!r}"
        await asyncio.sleep(0.01)
