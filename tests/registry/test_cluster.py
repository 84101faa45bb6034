"""A Redis Cluster: every command and script of the product goes to one slot, and a fail-over passes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from loadtests.fleet import wait_for
from loadtests.redis_servers import ClusterServers
from router.documents import Route, RouterLease
from router.journal.block import LOGS_KEY, parse_entry, records, stream_key
from router.journal.journal import Journal
from router.journal.shipper import Shipper
from router.journal.trimmer import EXPIRE_S, Trimmer
from router.registry import keys
from router.registry.audit import broken_at
from router.registry.change import Change
from router.registry.connection import close, connect, disconnect
from router.registry.registry import Registry
from router.registry.restore import Known, restore
from tests.control.installation import TESTER, document, replica
from tests.registry.conftest import until


def test_all_that_the_registry_does(cluster: ClusterServers) -> None:
    async def story() -> None:
        registry = Registry(connect(cluster.url))
        async with registry.redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(keys.HINT)
            await channel.get_message(timeout=1)
            for model in ("a", "b"):
                for version in ("1", "2"):
                    await registry.add_version(document(model, version), TESTER)
                    await registry.deploy(model, version, 1, TESTER)
                    await registry.put_replica(replica(model, version))
            assert await channel.get_message(timeout=1) is not None
        for version in ("1", "2"):
            done = await registry.change_route(
                "a", lambda s, v=version: replace(s.route or Route(model="a"), active=v), TESTER, "promote"
            )  # fmt: skip
        await registry.undeploy("a", "1", TESTER, lambda _: None)
        await registry.drop_replica("a", "a-1-0")
        lease = RouterLease(id="r", node="n", pid=1, revision=done.revision, highest=done.revision)
        await registry.acknowledge(lease)
        revision, now, [known] = await registry.standing()
        assert (revision, known.id, now - known.seen < 1000) == (done.revision + 2, "r", True)
        assert await registry.forget_router("r")
        assert await registry.models() == ["a", "b"]
        one, two = await registry.model_states(["a", "b"])
        assert (one.desired, two.desired) == ({"2": 1}, {"1": 1, "2": 1})
        assert [each.id for each in two.replicas] == ["b-1-0", "b-2-0"]
        assert await registry.version_names(["a", "c"]) == {"a": frozenset("12"), "c": frozenset()}
        found = await registry.version_documents([("a", "1"), ("c", "1"), ("b", "2")])
        assert set(found) == {("a", "1"), ("b", "2")}
        assert [entry["action"] for entry in await registry.history("a", 0, 9)] == ["promote"] * 2
        assert broken_at(await registry.audit_chain("a")) is None
        assert {state.model for state in (await registry.read_since(0)).models} == {"a", "b"}
        assert int((await registry.server("memory"))["used_memory"]) > 0
        lost = Known(
            replace(one, model="l", route=Route(model="l", epoch=9, active="2")), [document("l", "2")]
        )
        assert (await restore(registry, lost, TESTER)).route
        await registry.close()

    asyncio.run(story())


def test_logs_are_shipped_trimmed_and_retired(cluster: ClusterServers, tmp_path: Path) -> None:
    async def story() -> None:
        redis: Any = connect(cluster.url)
        names = [f"r{number}" for number in range(6)]  # their streams lie in different slots
        journals = [Journal(tmp_path, name) for name in names]
        ids = {j.incarnation: [n for _ in range(50) for n in j.append([{"x": "y" * 200}])] for j in journals}
        shipper, trimmer = Shipper(tmp_path, redis, block_bytes=2000), Trimmer(redis, stream_bytes=4000)
        assert await shipper.drain(10)
        await disconnect(redis)
        for name in names:
            entries = await redis.xrange(stream_key(name))
            told = [n for e, values in entries for n, _ in records(name, parse_entry(e, values))]
            assert told == ids[name]
        await redis.xgroup_create(stream_key("r0"), "readers", "0-0")
        for name in names:
            before = await redis.xlen(stream_key(name))
            await trimmer.trim(name)
            assert (await redis.xlen(stream_key(name)) < before) == (name != "r0"), (
                "a group has read nothing yet"
            )
        await trimmer.retire("r1")
        assert 0 < await redis.ttl(stream_key("r1")) <= EXPIRE_S
        await redis.delete(stream_key("r1"))
        await trimmer.unregister([])
        assert await redis.smembers(LOGS_KEY) == {name.encode() for name in names if name != "r1"}
        for journal in journals:
            journal.close()
        await close(redis)

    asyncio.run(story())


def test_a_fail_over_of_the_slot_of_the_control_state(cluster: ClusterServers) -> None:
    wait_for(cluster.whole, 15)

    async def story() -> None:
        registry = Registry(connect(cluster.url, timeout=1.0))
        before = await registry.commit(Change("f"))
        assert await registry.revision() == before
        primary = await asyncio.to_thread(cluster.owner, keys.REVISION)
        primary.kill()

        async def works() -> bool:
            return await registry.commit(Change("f")) > before

        assert await until(works, 15) > 0
        async with registry.redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(keys.HINT)
            await channel.get_message(timeout=1)
            revision = await registry.commit(Change("f"))
            assert int((await channel.get_message(timeout=1))["data"]) == revision
        primary.start()
        await registry.close()

    asyncio.run(story())
