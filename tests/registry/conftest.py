"""A registry on an emptied real Redis, and a way to run coroutines from plain tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

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
