"""Reads: pages of changes that lose nothing, leases by the clock of Redis."""

from __future__ import annotations

import time

import pytest

from router.documents import RouterLease
from router.registry import keys
from router.registry.change import Change
from router.registry.registry import Registry
from tests.control.installation import TESTER, document, replica
from tests.registry.conftest import Play


def test_only_what_changed_is_read(play: Play) -> None:
    async def story(registry: Registry) -> None:
        for model in ("a", "b"):
            await registry.add_version(document(model, "1"), TESTER)
        seen = await registry.read_since(0)
        assert ([state.model for state in seen.models], seen.complete) == (["a", "b"], True)
        assert seen.revision == await registry.revision()
        await registry.deploy("b", "1", 2, TESTER)
        await registry.put_replica(replica("b", "1"))
        later = await registry.read_since(seen.revision)
        [state] = later.models
        assert (state.model, state.desired, state.replicas) == ("b", {"1": 2}, (replica("b", "1"),))
        assert (await registry.read_since(later.revision)).models == ()

    play(story)


def test_an_empty_installation(play: Play) -> None:
    async def story(registry: Registry) -> None:
        seen = await registry.read_since(0)
        assert (seen.revision, seen.models, seen.complete) == (0, (), True)

    play(story)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_pages_leave_nothing_out(play: Play, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("router.registry.reads.PAGE", size)

    async def story(registry: Registry) -> None:
        for number in range(20):
            await registry.commit(Change(f"m{number:02}"))
        since, found, pages = 0, [], 0
        while True:
            seen = await registry.read_since(since)
            found += [state.model for state in seen.models]
            if pages == 0:
                await registry.commit(Change("m05"))  # a change while somebody reads
            since, pages = seen.revision, pages + 1
            if seen.complete:
                break
        assert set(found) == {f"m{number:02}" for number in range(20)}
        assert found[-1] == "m05"
        assert since == await registry.revision()

    play(story)


def test_leases_are_stamped_by_redis(play: Play) -> None:
    async def story(registry: Registry) -> None:
        lease = RouterLease(
            id="r1", node="n", pid=1, revision=3, highest=4, refused={"m": "cold"}, lease_ms=500
        )
        stamped = await registry.acknowledge(lease)
        now, [stored] = await registry.routers()
        assert (stored.seen, stored.revision, stored.refused) == (stamped, 3, {"m": "cold"})
        assert 0 <= now - stamped < 1000
        assert abs(now - time.time() * 1000) < 5000
        assert not stored.lapsed(stamped + 500)
        assert stored.lapsed(stamped + 501)
        assert await registry.forget_router("r1") is True
        assert await registry.forget_router("r1") is False
        assert (await registry.routers())[1] == []

    play(story)


def test_an_acknowledgement_is_announced(play: Play) -> None:
    async def story(registry: Registry) -> None:
        async with registry.redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(keys.ACKS)
            await channel.get_message(timeout=1)
            await registry.acknowledge(RouterLease(id="r1", node="n", pid=1, revision=3, highest=3))
            message = await channel.get_message(timeout=1)
            assert message["data"] == b"r1 3"

    play(story)


def test_versions(play: Play) -> None:
    async def story(registry: Registry) -> None:
        await registry.add_version(document("m", "1"), TESTER)
        stored = await registry.version("m", "1")
        assert stored is not None
        assert stored.pop("registered")["actor"] == TESTER.name
        assert stored == document("m", "1")
        assert await registry.version("m", "2") is None
        assert (await registry.versions("m")).keys() == {"1"}
        found = await registry.version_documents([("m", "1"), ("m", "2"), ("n", "1")])
        assert list(found) == [("m", "1")]
        assert (await registry.exists("m"), await registry.exists("n")) == (True, False)
        assert await registry.models() == ["m"]

    play(story)


def test_history_in_pieces(play: Play) -> None:
    async def story(registry: Registry) -> None:
        await registry.redis.rpush(keys.history("m"), *(b'{"epoch":%d}' % n for n in range(10)))
        assert [entry["epoch"] for entry in await registry.history("m", 3, 4)] == [3, 4, 5, 6]
        assert await registry.history("m", 10, 4) == []

    play(story)
