"""Files and registry say what runs; the registry may be away, forget, or be told of strangers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import orjson

from router.agent.follow import AWAY, News
from router.agent.place import Place
from router.agent.roster import Roster
from router.documents import ModelState, Replica
from router.halt import halt
from router.registry.connection import connect
from router.registry.registry import Registry
from tests.agent.conftest import Server
from tests.agent.waiting import soon
from tests.agent.wishes import NODE, replica


def play(server: Server, place: Place, scene: Callable[[Registry, Roster], Awaitable[None]]) -> None:
    async def run() -> None:
        registry = Registry(connect(server.embedded.url))
        roster = Roster(place, registry, NODE)
        task = asyncio.create_task(roster.publish())
        try:
            await scene(registry, roster)
        finally:
            await halt({task})
            await registry.close()

    asyncio.run(run())


async def listed(registry: Registry) -> list[Replica]:
    return list((await registry.model_state("m")).replicas)


async def until_listed(registry: Registry, wanted: list[Replica]) -> None:
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(*AWAY):
                if await listed(registry) == wanted:
                    return
            await asyncio.sleep(0.005)


def test_files_and_registry_follow(server: Server, place: Place) -> None:
    async def scene(registry: Registry, roster: Roster) -> None:
        roster.put(replica("a", state="starting"))
        roster.put(replica("a"))
        roster.put(replica("b"))
        assert [each["id"] for each in orjson.loads(place.replicas.read_bytes())["replicas"]] == ["a", "b"]
        await until_listed(registry, [replica("a"), replica("b")])
        roster.drop("a")
        assert not (place.replica_files / "a.json").exists()
        await until_listed(registry, [replica("b")])
        revision = await registry.revision()
        roster.put(replica("b"))  # nothing new: no router need look
        await roster.flush()
        assert await registry.revision() == revision

    play(server, place, scene)


def test_what_happened_while_redis_was_away_arrives_later(server: Server, place: Place) -> None:
    async def scene(registry: Registry, roster: Roster) -> None:
        roster.put(replica("a"))
        await until_listed(registry, [replica("a")])
        server.kill()
        roster.drop("a")
        roster.put(replica("b"))
        await asyncio.sleep(0)
        assert [each["id"] for each in orjson.loads(place.replicas.read_bytes())["replicas"]] == ["b"]
        server.start()
        await until_listed(registry, [replica("b")])

    play(server, place, scene)


def test_a_registry_that_differs_is_put_right(server: Server, place: Place) -> None:
    async def scene(registry: Registry, roster: Roster) -> None:
        roster.put(replica("ours"))
        await until_listed(registry, [replica("ours")])
        await registry.put_replica(replica("stale"))
        await registry.put_replica(replica("elsewhere", node="other"))
        await registry.drop_replica("m", "ours")
        changes = await registry.read_since(0)
        assert roster.compare(News(changes.revision, changes.models, everything=True)) == []
        await until_listed(registry, [replica("elsewhere", node="other"), replica("ours")])
        await registry.redis.flushall()
        roster.compare(News(0, (), everything=True, behind=True))
        await until_listed(registry, [replica("ours")])

    play(server, place, scene)


def test_news_older_than_our_own_change_nothing(server: Server, place: Place) -> None:
    async def scene(registry: Registry, roster: Roster) -> None:
        old = await registry.put_replica(replica("other", node="other"))
        revision = await roster.announce(replica("a"))
        assert revision > old
        state = ModelState(model="m", route=None, replicas=(), desired={})
        roster.compare(News(old, (state,), everything=False))
        await roster.flush()
        assert await registry.revision() == revision

    play(server, place, scene)


def test_a_failed_replica_taken_out_means_try_again(server: Server, place: Place) -> None:
    async def scene(registry: Registry, roster: Roster) -> None:
        failed = replica("a", state="failed", error="no")
        roster.put(failed)
        empty = ModelState(model="m", route=None, replicas=(), desired={})
        assert roster.compare(News(1, (empty,), everything=False)) == []  # it was never there yet
        await until_listed(registry, [failed])
        changes = await registry.read_since(0)
        assert roster.compare(News(changes.revision, changes.models, everything=False)) == []
        await registry.drop_replica("m", "a")
        changes = await registry.read_since(0)
        await soon(
            lambda: roster.compare(News(changes.revision, changes.models, everything=False)) == [failed]
        )

    play(server, place, scene)
