"""Nothing that happens in the registry is missed: hints, lost hints, a restart, an older Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from router.agent.follow import Follow, News
from router.halt import halt
from router.registry import keys
from router.registry.connection import connect
from router.registry.registry import Registry
from tests.agent.conftest import Server
from tests.agent.waiting import soon
from tests.agent.wishes import TESTER, document

Scene = Callable[[Registry, list[News]], Awaitable[None]]


def follow(server: Server, poll_s: float, scene: Scene) -> None:
    async def run() -> None:
        heard: list[News] = []

        async def tell(news: News) -> None:
            heard.append(news)

        registry, mine = Registry(connect(server.embedded.url)), Registry(connect(server.embedded.url))
        task = asyncio.create_task(Follow(mine, poll_s, tell).run())
        try:
            await scene(registry, heard)
        finally:
            await halt({task})
            await registry.close()
            await mine.close()

    asyncio.run(run())


def test_a_hint_brings_the_change_and_a_change_is_told_once(server: Server) -> None:
    async def scene(registry: Registry, heard: list[News]) -> None:
        await soon(lambda: heard)
        assert heard == [News(0, (), everything=True)]
        await registry.add_version(document("m", "1"), TESTER)
        revision = await registry.deploy("m", "1", 2, TESTER)
        await soon(lambda: heard[-1].revision == revision, 2)
        assert heard[-1].models[0].desired == {"1": 2}
        assert not heard[-1].everything
        assert len(heard) <= 3

    follow(server, 60, scene)


def test_the_poll_finds_what_no_hint_told(server: Server) -> None:
    async def scene(registry: Registry, heard: list[News]) -> None:
        await soon(lambda: heard)
        pipeline = registry.redis.pipeline()
        pipeline.set(keys.REVISION, 5)
        pipeline.zadd(keys.CHANGES, {"m": 5})
        pipeline.hset(keys.desired("m"), "1", 1)
        await pipeline.execute()
        await soon(lambda: heard[-1].revision == 5, 2)

    follow(server, 0.05, scene)


def test_a_restart_brings_everything_again(server: Server) -> None:
    async def scene(registry: Registry, heard: list[News]) -> None:
        await registry.deploy("m", "1", 1, TESTER)
        await soon(lambda: heard and heard[-1].models, 2)
        before = len(heard)
        server.kill()
        server.start()
        await soon(lambda: len(heard) > before, 5)
        assert heard[-1].everything
        assert [state.model for state in heard[-1].models] == ["m"]

    follow(server, 0.1, scene)


@pytest.mark.parametrize("emptied", [True, False])
def test_an_older_registry_is_told_as_such_and_once(server: Server, emptied: bool) -> None:
    async def scene(registry: Registry, heard: list[News]) -> None:
        await registry.add_version(document("m", "1"), TESTER)
        for number in range(1, 6):
            await registry.deploy("m", "1", number, TESTER)
        await soon(lambda: heard and heard[-1].revision == 6, 2)
        if emptied:
            await registry.redis.flushall()
        else:
            await registry.redis.set(keys.REVISION, 2)
        await soon(lambda: heard[-1].behind, 2)
        told = len(heard)
        assert [state.model for state in heard[-1].models] == ([] if emptied else ["m"])
        await registry.redis.zadd(keys.CHANGES, {"meanwhile": 3})
        await registry.redis.set(keys.REVISION, 7)
        await registry.redis.zadd(keys.CHANGES, {"m": 7})
        await soon(lambda: heard[-1].revision == 7, 2)
        asked, changed = heard[told:]
        assert asked.behind
        assert "meanwhile" in [state.model for state in asked.models]
        assert not changed.behind
        assert [state.model for state in changed.models] == ["m"]

    follow(server, 0.05, scene)
