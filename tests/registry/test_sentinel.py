"""A fail-over behind sentinels: changes go on by themselves, what was confirmed is not lost, the rest is told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from loadtests.fleet import wait_for
from loadtests.redis_servers import Sentinels
from router.documents import ModelState, Route
from router.registry import keys
from router.registry.connection import connect, replicas_awaited
from router.registry.registry import Registry
from tests.control.installation import TESTER, document
from tests.registry.conftest import until

OUTAGE_S = 15.0  # the longest that a fail-over may keep changes waiting; usually 2 to 4 s
WAITED = "router.registry.registry.WAIT_MS"


@pytest.fixture(autouse=True)
def fixture_whole(sentinels: Sentinels) -> Iterator[None]:
    """Each test begins with both servers in place."""
    wait_for(sentinels.whole, 20)
    yield
    for server in sentinels.servers:
        if not server.answers():
            server.start()


def opened(sentinels: Sentinels) -> Registry:
    """As the control process has it."""
    return Registry(connect(sentinels.url, timeout=1.0), replicas_awaited(sentinels.url))


def active(version: str):  # type: ignore[no-untyped-def]
    """A decision: this version, None where it is so already."""

    def decide(state: ModelState) -> Route | None:
        route = state.route or Route(model=state.model)
        return None if route.active == version else replace(route, active=version)

    return decide


async def flipped(registry: Registry, version: str) -> bool:
    """One change, whatever becomes of it."""
    return (await registry.change_route("m", active(version), TESTER, "promote")).after is not None


def test_a_confirmed_change_outlives_the_primary(sentinels: Sentinels) -> None:
    async def story() -> None:
        registry = opened(sentinels)
        if not await registry.exists("m"):
            await registry.add_version(document("m", "1"), TESTER)
        epochs = []
        for number in range(5):
            done = await registry.change_route("m", active(f"a{number}"), TESTER, "promote")
            assert done.safe
            epochs.append(done.revision)
        assert registry.unreplicated == 0
        sentinels.primary().kill()
        await until(lambda: flipped(registry, "b"), OUTAGE_S)
        history = [entry["epoch"] for entry in await registry.history("m", 0, 100)]
        assert history[-6:-1] == epochs
        assert history == sorted(set(history))
        assert history[-1] > epochs[-1]
        await registry.close()

    asyncio.run(story())


def test_a_change_without_a_replica_is_made_and_told_to_be_unsafe(sentinels: Sentinels) -> None:
    async def story() -> None:
        registry = opened(sentinels)
        await flipped(registry, "c")
        replica = sentinels.replica()
        replica.signal(signal.SIGSTOP)
        try:
            done = await registry.change_route("m", active("d"), TESTER, "promote")
            assert (done.changed, done.safe, registry.unreplicated) == (True, False, 1)
            # The same again changes nothing, and is not safe yet either.
            again = await registry.change_route("m", active("d"), TESTER, "promote")
            assert (again.changed, again.safe, again.revision) == (False, False, done.revision)
        finally:
            replica.signal(signal.SIGCONT)

        async def safe() -> bool:
            return (await registry.change_route("m", active("d"), TESTER, "promote")).safe

        await until(safe, 5)
        await registry.close()

    asyncio.run(story())


def test_a_fence_is_for_the_route_that_stands_there(sentinels: Sentinels) -> None:
    async def story() -> None:
        registry = opened(sentinels)
        await flipped(registry, "e")
        stored = await registry.redis.hget(keys.ROUTES, "m")
        assert await registry._fenced("m", stored) is True
        assert await registry._fenced("m", stored + b" ") is None
        await registry.close()

    asyncio.run(story())


def test_a_primary_that_hangs_is_left_and_not_believed_when_it_comes_back(sentinels: Sentinels) -> None:
    async def story() -> None:
        registry, other = opened(sentinels), opened(sentinels)
        await flipped(registry, "f")
        before = await other.revision()
        hung = sentinels.primary()
        hung.signal(signal.SIGSTOP)
        try:
            await until(lambda: flipped(registry, "g"), OUTAGE_S)
            assert sentinels.primary() is not hung
        finally:
            hung.signal(signal.SIGCONT)
        # `other` may still hold a connection to it: what it reads there must not last.
        after = await registry.revision()
        assert after > before

        async def sees() -> bool:
            return await other.revision() == after

        await until(sees, 10)
        await until(lambda: flipped(other, "h"), OUTAGE_S)
        await registry.close()
        await other.close()

    asyncio.run(story())
