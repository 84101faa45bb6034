"""The watch against a real Redis: hints, polls, refusals, lost state, and life without Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.documents import ModelState, Replica, Route
from router.registry import keys
from router.registry.audit import Actor
from router.registry.connection import connect
from router.registry.registry import Registry
from router.route.table import Entry, Table
from router.route.watch import Identity, Watch
from tests.journal.conftest import RedisServer

ACTOR = Actor("tester")
ME = Identity("r0.test", "here", 1, lease_ms=1000, poll_ms=200)


@pytest.fixture(name="server")
def fixture_server() -> Iterator[RedisServer]:
    """A Redis of this test's own."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


class Below:
    """The room below, which connects nothing; `refusal` makes every entry unreachable."""

    def __init__(self) -> None:
        self.refusal: str | None = None

    async def prepare(self, entry: Entry) -> str | None:
        """Says what it was told to say."""
        return self.refusal

    def retain(self, table: Table, models: list[str]) -> None:
        """Keeps nothing."""


class Scene:
    """A registry with versions 1 and 2 of `m` running, and a watch on it."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.registry = Registry(connect(server.url, timeout=0.5))
        self.below = Below()
        self.local = folder / "replicas.json"
        self._watched = Registry(connect(server.url, timeout=0.5))
        self.watch = Watch(self._watched, self.below, ME, folder / "table.json", self.local)

    async def close(self) -> None:
        """Ends the watch and closes every connection."""
        await self.watch.close()
        await self._watched.close()
        await self.registry.close()

    async def prepare(self) -> None:
        """Fills the registry."""
        for version in ("1", "2"):
            document = {"model": "m", "version": version, "digest": f"d{version}", "runtime": "onnx"}
            await self.registry.add_version(document, ACTOR)
            await self.registry.deploy("m", version, 1, ACTOR)
            await self.registry.put_replica(replica(version))
        await self.route("1")

    async def route(self, version: str) -> int:
        """Makes a version active; the revision."""

        def decide(state: ModelState) -> Route:
            return msgspec.structs.replace(state.route or Route(model="m"), active=version)

        return (await self.registry.change_route("m", decide, ACTOR, "promote")).revision

    @property
    def active(self) -> str | None:
        """What the table says."""
        entry = self.watch.table.entries.get("m")
        return None if entry is None else entry.route.active


def replica(version: str) -> Replica:
    """A ready replica of `m`."""
    return Replica(
        id=f"m-{version}", model="m", version=version, digest="d", address=f"unix:/{version}", pid=1,
        node="here", state="ready", since="",
    )  # fmt: skip


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> float:
    """Polls; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "the condition did not come true in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


@pytest.fixture(name="play")
def fixture_play(server: RedisServer, tmp_path: Path) -> Callable[[Callable[[Scene], Awaitable[None]]], None]:
    """Runs a story with a prepared scene whose watch has started."""

    def run(story: Callable[[Scene], Awaitable[None]]) -> None:
        async def main() -> None:
            scene = Scene(server, tmp_path)
            await scene.prepare()
            await scene.watch.start()
            try:
                await asyncio.wait_for(story(scene), 30)
            finally:
                await scene.close()

        asyncio.run(main())

    return run


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


def test_a_change_is_taken_and_acknowledged_by_the_hint(play: Play) -> None:
    async def story(scene: Scene) -> None:
        assert scene.active == "1"
        assert scene.watch.fresh
        revision = await scene.route("2")
        await until(lambda: scene.active == "2", 1.0)
        assert scene.watch.table.entries["m"].route.epoch == revision
        _, [lease] = await scene.registry.routers()
        while lease.revision < revision:
            _, [lease] = await scene.registry.routers()
        assert (lease.id, lease.refused) == ("r0.test", {})

    play(story)


def test_a_lost_hint_costs_a_poll_and_no_change(play: Play) -> None:
    async def story(scene: Scene) -> None:
        for version in ("2", "1", "2"):
            await scene.registry.redis.client_kill_filter(_type="pubsub")
            await scene.route(version)
            await until(lambda wanted=version: scene.active == wanted, 2.0)  # type: ignore[misc]

    play(story)


def test_a_route_whose_target_cannot_be_reached_is_refused_and_taken_later(play: Play) -> None:
    async def story(scene: Scene) -> None:
        scene.below.refusal = "no way"
        revision = await scene.route("2")
        lease: Any = None
        while lease is None or lease.highest < revision:
            _, [lease] = await scene.registry.routers()
        assert lease.refused == {"m": "no way"}
        assert not lease.took("m", revision)
        assert scene.active == "1"
        scene.below.refusal = None
        await until(lambda: scene.active == "2", 2.0)

    play(story)


def test_a_redis_that_lost_everything_takes_no_route_away(play: Play) -> None:
    async def story(scene: Scene) -> None:
        before = scene.watch.table.entries["m"].route
        await scene.registry.redis.flushall()
        await until(lambda: scene.watch.regressed)
        assert scene.active == "1"
        # What a host's agent does then: its replicas are put again, by a revision above all that were seen.
        while not (await scene.registry.routers())[1]:
            await asyncio.sleep(0.01)
        revision = await scene.registry.put_replica(replica("1"))
        assert revision > before.epoch
        await until(lambda: scene.watch.table.revision == revision)
        assert scene.watch.table.entries["m"].route == before
        assert scene.watch.regressed

    play(story)


def test_a_lower_revision_is_ignored_and_the_next_lies_above_all(play: Play) -> None:
    async def story(scene: Scene) -> None:
        high = await scene.route("2")
        await until(lambda: scene.active == "2")
        await until(lambda: scene.watch.fresh)
        await scene.registry.redis.set(keys.REVISION, 1)
        await until(lambda: scene.watch.regressed)
        assert scene.active == "2"
        assert await scene.route("1") > high
        await until(lambda: scene.active == "1")
        assert not scene.watch.regressed

    play(story)


def test_without_redis_nobody_waits_twice(play: Play) -> None:
    async def story(scene: Scene) -> None:
        scene.server.pause()
        await until(lambda: not scene.watch.fresh, 5.0)
        began = time.monotonic()
        assert not await scene.watch.ensure_fresh()
        assert time.monotonic() - began < 0.3
        began = time.monotonic()
        for _ in range(100):
            assert not await scene.watch.ensure_fresh()
        assert time.monotonic() - began < 0.05
        assert scene.active == "1"
        scene.server.resume()
        await until(lambda: scene.watch.fresh, 5.0)

    play(story)


def test_it_starts_from_the_last_good_table_with_the_replicas_of_now(
    play: Play, server: RedisServer, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        await scene.route("2")
        await until(lambda: scene.active == "2")
        await until(lambda: (tmp_path / "table.json").exists())

    play(story)
    server.kill()
    now = msgspec.structs.replace(replica("2"), id="m-2-new", address="unix:/new")
    (tmp_path / "replicas.json").write_bytes(msgspec.json.encode({"replicas": [now]}))

    async def alone() -> None:
        scene = Scene(server, tmp_path)
        await scene.watch.start()
        try:
            assert scene.watch.synced
            assert scene.active == "2"
            assert not scene.watch.fresh
            assert scene.watch.table.entries["m"].targets["2"].replicas == (now,)
        finally:
            await scene.close()

    asyncio.run(alone())
