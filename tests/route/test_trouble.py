"""The watch under a Redis in trouble: restored from a backup, grown past it, full, slow, failed over."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from loadtests.redis_servers import Sentinels, Server, SlowLine
from router.documents import ModelState, Route
from router.registry.connection import connect
from router.registry.registry import Registry
from router.registry.restore import Known, restore
from router.route.watch import Watch
from tests.control.installation import document
from tests.journal.conftest import RedisServer
from tests.registry.conftest import sentinels
from tests.route.test_watch import ACTOR, ME, Below, Scene, fixture_play, fixture_server, replica, until

__all__ = ["fixture_play", "fixture_server", "sentinels"]

Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


def log_of(server: RedisServer) -> Path:
    """The append-only file."""
    return server.folder / "appendonly.aof"


async def fall_back(scene: Scene, backup: Path) -> None:
    """Redis as it was when the backup was made."""
    await asyncio.to_thread(scene.server.kill)
    shutil.copy(backup, log_of(scene.server))
    await asyncio.to_thread(scene.server.start)


async def backed_up(scene: Scene, folder: Path) -> Path:
    """A backup of now. The server must not forget the last second: it is made to write all at once."""
    await scene.registry.redis.config_set("appendfsync", "always")
    await scene.registry.redis.set("written", "all")
    shutil.copy(log_of(scene.server), folder / "backup")
    return folder / "backup"


def known(scene: Scene) -> Known:
    """What the host knows of `m`."""
    documents = [{"model": "m", "version": v, "digest": f"d{v}", "runtime": "onnx"} for v in ("1", "2")]
    return Known(scene.watch.state("m"), documents)


def test_a_restored_backup_takes_no_route_away_and_is_given_it_back(play: Play, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        backup = await backed_up(scene, tmp_path)
        high = await scene.route("2")
        await until(lambda: scene.active == "2")
        await fall_back(scene, backup)
        await until(lambda: scene.watch.routes_lost == 1)
        assert scene.active == "2"
        assert scene.watch.regressed
        # The router acknowledges nothing of this Redis, and says how far it was.
        leases = []
        while not leases:
            _, leases = await scene.registry.routers()
        assert (leases[0].revision, leases[0].highest) == (0, high)
        assert "epoch" in leases[0].refused["m"]
        back = await restore(scene.registry, known(scene), ACTOR)
        assert back.route
        assert back.revision > high
        await until(lambda: scene.watch.table.entries["m"].route.epoch == back.revision)
        assert scene.active == "2"
        await until(lambda: not scene.watch.regressed)
        assert (await restore(scene.registry, known(scene), ACTOR)).revision == 0, (
            "nothing is missing any more"
        )

    play(story)


def test_the_same_change_again_repairs_a_route_that_redis_has_under_a_lower_number(
    play: Play, tmp_path: Path
) -> None:
    """A change that came in before Redis heard how far the routers were: they do not take it until repeated."""

    async def story(scene: Scene) -> None:
        backup = await backed_up(scene, tmp_path)
        for version in ("2", "1"):
            high = await scene.route(version)
            await until(lambda wanted=high: scene.watch.table.revision >= wanted)  # type: ignore[misc]
        await fall_back(scene, backup)
        hasty = Registry(connect(scene.server.url))  # one that never saw the high revision
        while True:
            _, leases = await hasty.routers()
            if leases and leases[0].highest >= high:
                break

        def decide(state: ModelState) -> Route | None:
            assert state.route is not None
            return None if state.route.active == "1" else msgspec.structs.replace(state.route, active="1")

        done = await hasty.change_route("m", decide, ACTOR, "promote")
        assert done.changed, "Redis says 1 already, and is behind"
        assert done.revision > high
        await until(lambda: scene.watch.table.entries["m"].route.epoch == done.revision)
        await until(lambda: not scene.watch.regressed)
        await hasty.close()

    play(story)


def test_a_flush_takes_no_replica_away_while_the_agent_tells_them_one_by_one(
    play: Play, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        both = [replica("1"), replica("2")]
        scene.local.write_bytes(msgspec.json.encode({"replicas": both}))
        known_to_redis = scene.watch.table.revision
        await scene.registry.redis.flushall()
        # The agent is quicker than the router's poll: what comes is no lower revision, but half of the replicas.
        await scene.registry.put_replica(replica("2"))
        await until(lambda: scene.watch.table.revision > known_to_redis)
        ready = {name: target.replicas for name, target in scene.watch.table.entries["m"].targets.items()}
        assert ready["1"] == (replica("1"),)
        assert scene.watch.routes_lost == 1

    play(story)


def test_a_redis_that_grew_past_what_was_known_still_lacks_the_route(play: Play, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        backup = await backed_up(scene, tmp_path)
        high = await scene.route("2")
        await until(lambda: scene.active == "2")
        await asyncio.to_thread(scene.server.kill)
        elsewhere = RedisServer()
        shutil.copy(backup, log_of(elsewhere))
        await asyncio.to_thread(elsewhere.start)
        other = Registry(connect(elsewhere.url))
        await other.redis.delete("{pm}:routers")
        while await other.revision() <= high:
            await other.put_replica(msgspec.structs.replace(replica("1"), model="other"))
        await other.redis.config_set("appendfsync", "always")
        await other.redis.set("written", "all")
        await other.close()
        elsewhere.kill()
        shutil.copy(log_of(elsewhere), log_of(scene.server))
        shutil.rmtree(elsewhere.folder)
        await asyncio.to_thread(scene.server.start)
        await until(lambda: scene.watch.routes_lost == 1 and scene.watch.table.revision > high)
        assert scene.active == "2"

    play(story)


def test_a_router_that_starts_by_an_older_redis_serves_its_last_good_table(
    play: Play, server: RedisServer, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        await scene.route("2")
        await until(lambda: scene.active == "2")

    play(story)

    async def later() -> None:
        registry = Registry(connect(server.url))
        await registry.redis.flushall()
        now = msgspec.structs.replace(replica("2"), id="m-2-new", address="unix:/new")
        (tmp_path / "replicas.json").write_bytes(msgspec.json.encode({"replicas": [now]}))
        scene = Scene(server, tmp_path)
        await scene.watch.start()
        try:
            assert (scene.active, scene.watch.routes_lost) == ("2", 1)
            assert scene.watch.table.entries["m"].targets["2"].replicas == (now,)
            assert scene.watch.fresh
            assert (await restore(registry, known(scene), ACTOR)).route
            await until(lambda: not scene.watch.regressed)
            assert scene.active == "2"
            assert (await registry.model_state("m")).desired == {"1": 1, "2": 1}
        finally:
            await scene.close()
            await registry.close()

    asyncio.run(later())


def test_a_full_redis_is_read_and_not_acknowledged(play: Play) -> None:
    async def story(scene: Scene) -> None:
        redis = scene.registry.redis
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", "1")
        await until(lambda: not scene.watch.acknowledged)
        assert scene.watch.fresh
        assert not scene.watch.freshness.failing
        confirmed = scene.watch.freshness.confirmed_at
        await until(lambda: scene.watch.freshness.confirmed_at > confirmed)
        await redis.config_set("maxmemory", "0")
        await until(lambda: scene.watch.acknowledged)
        await scene.route("2")
        await until(lambda: scene.active == "2")

    play(story)


def test_half_a_second_of_latency_makes_no_table_stale(tmp_path: Path) -> None:
    far = Server()
    far.start()
    line = SlowLine(far.port)

    async def story() -> None:
        near, behind = Registry(connect(far.url)), Registry(connect(line.url))
        for version in ("1", "2"):
            await near.add_version(document("m", version), ACTOR)
            await near.deploy("m", version, 1, ACTOR)
            await near.put_replica(replica(version))
        watch = Watch(behind, Below(), ME_SLOW, tmp_path / "table.json", tmp_path / "replicas.json")
        await watch.start()
        line.delay = 0.5
        loop = asyncio.get_running_loop()
        end = loop.time() + 4
        stale = 0
        while loop.time() < end:
            stale += not watch.fresh
            await asyncio.sleep(0.01)
        assert stale == 0
        revision = (
            await near.change_route("m", lambda _: Route(model="m", active="2"), ACTOR, "promote")
        ).revision
        took = await until(lambda: watch.table.revision >= revision, 5)
        assert took > 0.4, "the line is slow, or this test shows nothing"
        await watch.close()
        await near.close()
        await behind.close()

    try:
        asyncio.run(story())
    finally:
        line.close()
        far.close()


ME_SLOW = type(ME)("r0.slow", "here", 1, lease_ms=3000, poll_ms=1000)


def test_hints_come_again_after_a_fail_over(sentinels: Sentinels, tmp_path: Path) -> None:
    async def story() -> None:
        near, watched = (Registry(connect(sentinels.url, timeout=1.0)) for _ in range(2))
        for version in ("1", "2"):
            await near.add_version(document("m", version), ACTOR)
            await near.deploy("m", version, 1, ACTOR)
            await near.put_replica(replica(version))
        watch = Watch(watched, Below(), ME_RARE, tmp_path / "table.json", tmp_path / "replicas.json")
        await watch.start()
        sentinels.primary().kill()
        await until(lambda: watch.freshness.failing, 20)
        await until(lambda: not watch.freshness.failing, 30)

        async def flip(version: str) -> float:
            revision = (
                await near.change_route("m", lambda _: Route(model="m", active=version), ACTOR, "promote")
            ).revision
            return await until(lambda: watch.table.revision >= revision, 10)

        times = [await flip(version) for version in "12121212"]
        assert sorted(times)[4] < 0.2, f"by polls alone it takes two seconds in the mean: {times}"
        assert watch.table.entries["m"].route.active == "2"
        assert not watch.regressed
        await watch.close()
        await near.close()
        await watched.close()

    asyncio.run(story())


ME_RARE = type(ME)("r0.rare", "here", 1, lease_ms=3000, poll_ms=4000)
