"""The commit script: all or nothing, revisions that only grow, and races that have one winner."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from msgspec.structs import replace

from router.documents import ModelState, Route, RouterLease
from router.errors import Conflict, Unavailable
from router.registry import keys
from router.registry.audit import Actor, broken_at
from router.registry.change import Change
from router.registry.registry import Raced, Registry
from tests.control.installation import TESTER, document, replica
from tests.registry.conftest import Play


def active(version: str) -> object:
    """A decision: this version, whatever was."""

    def decide(state: ModelState) -> Route:
        return replace(state.route or Route(model=state.model), active=version)

    return decide


def lease(name: str, highest: int) -> RouterLease:
    return RouterLease(id=name, node="n", pid=1, revision=0, highest=highest)


def test_a_route_change_writes_route_history_audit_and_revision(play: Play) -> None:
    async def story(registry: Registry) -> None:
        await registry.add_version(document("m", "1"), TESTER)
        before = await registry.revision()
        actor = Actor(name="ada", reason="because")
        done = await registry.change_route("m", active("1"), actor, "promote")  # type: ignore[arg-type]
        assert (done.changed, done.before, done.revision) == (True, None, before + 1)
        assert done.after == Route(model="m", epoch=before + 1, active="1")
        assert (await registry.model_state("m")).route == done.after
        assert await registry.revision() == before + 1
        [entry] = await registry.history("m", 0, 10)
        assert (entry["epoch"], entry["actor"], entry["reason"]) == (before + 1, "ada", "because")
        chain = await registry.audit_chain("m")
        assert [item["action"] for item in chain] == ["version.register", "route.promote"]
        assert broken_at(chain) is None

    play(story)


def test_nothing_to_change_writes_nothing(play: Play) -> None:
    async def story(registry: Registry) -> None:
        done = await registry.change_route("m", lambda _: None, TESTER, "promote")
        assert (done.changed, done.revision) == (False, 0)
        assert await registry.redis.keys("*") == []

    play(story)


def test_a_failed_check_writes_nothing(play: Play) -> None:
    async def story(registry: Registry) -> None:
        change = Change("m")
        change.write("HSET", keys.ROUTES, "m", "new")
        change.expect(keys.ROUTES, "m", "old", "route")
        with pytest.raises(Raced) as caught:
            await registry.commit(change)
        assert caught.value.meaning == "route"
        assert await registry.redis.keys("*") == []

    play(story)


def test_checks_tell_absent_from_empty(play: Play) -> None:
    async def story(registry: Registry) -> None:
        await registry.redis.hset(keys.ROUTES, "m", "")
        for value, fits in ((None, False), ("", True), ("x", False)):
            change = Change("m")
            change.expect(keys.ROUTES, "m", value, "route")
            if fits:
                await registry.commit(change)
                continue
            with pytest.raises(Raced):
                await registry.commit(change)

    play(story)


def test_values_are_opaque_bytes(play: Play) -> None:
    async def story(registry: Registry) -> None:
        value = bytes(range(256))
        change = Change('m"\\{pm}')
        change.write("HSET", keys.ROUTES, "field \0", value)
        await registry.commit(change)
        assert await registry.redis.hget(keys.ROUTES, "field \0") == value

    play(story)


def test_the_next_revision_is_above_what_any_router_saw(play: Play) -> None:
    async def story(registry: Registry) -> None:
        await registry.acknowledge(lease("r1", 41))
        await registry.acknowledge(lease("r2", 7))
        assert await registry.commit(Change("m")) == 42
        with pytest.raises(Raced, match="revision"):
            await registry.commit(Change("m", revision=42))
        assert await registry.commit(Change("m", revision=50)) == 50

    play(story)


def test_a_change_after_a_fail_over_to_an_older_state(play: Play) -> None:
    async def story(registry: Registry) -> None:
        for _ in range(5):
            await registry.commit(Change("m"))
        await registry.acknowledge(lease("r1", 5))
        await registry.redis.set(keys.REVISION, "2")
        done = await registry.change_route("m", active("1"), TESTER, "promote")  # type: ignore[arg-type]
        assert done.revision == 6

    play(story)


def test_a_commit_hints_with_its_revision(play: Play) -> None:
    async def story(registry: Registry) -> None:
        async with registry.redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(keys.HINT)
            await channel.get_message(timeout=1)
            revision = await registry.commit(Change("m"))
            message = await channel.get_message(timeout=1)
            assert int(message["data"]) == revision

    play(story)


def test_fifty_changes_at_once_have_one_line_of_history(play: Play) -> None:
    async def story(registry: Registry) -> None:
        async def one(number: int) -> int:
            done = await registry.change_route("m", active(str(number)), TESTER, "promote")  # type: ignore[arg-type]
            return done.revision

        revisions = await asyncio.gather(*(one(number) for number in range(50)))
        history = await registry.history("m", 0, 100)
        assert [entry["epoch"] for entry in history] == sorted(revisions)
        assert len(set(revisions)) == 50
        for earlier, later in itertools.pairwise(history):
            assert later["before"] == earlier["after"]
        assert broken_at(await registry.audit_chain("m")) is None

    play(story)


def test_a_change_that_always_loses_gives_up(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.registry.registry.ATTEMPTS", 3)

    async def story(registry: Registry) -> None:
        def decide(state: ModelState) -> Route:
            other = Change("m")
            other.write("HSET", keys.ROUTES, "m", b'{"model":"m","active":"x"}')
            raced.append(asyncio.ensure_future(registry.commit(other)))
            return Route(model="m", active="1")

        raced: list[asyncio.Future[int]] = []
        commit = registry.committed

        async def late(change: Change) -> tuple[int, bool]:
            if change.revision:
                await raced[-1]
            return await commit(change)

        registry.committed = late  # type: ignore[method-assign]
        with pytest.raises(Unavailable) as caught:
            await registry.change_route("m", decide, TESTER, "promote")
        assert caught.value.code == "contended"
        assert len(raced) == 3

    play(story)


def test_a_version_is_never_overwritten(play: Play) -> None:
    async def story(registry: Registry) -> None:
        async def one(number: int) -> bool:
            try:
                await registry.add_version(document("m", "1") | {"digest": f"{number:064}"}, TESTER)
            except Conflict as conflict:
                codes.append(conflict.code)
                return False
            return True

        codes: list[str] = []
        won = await asyncio.gather(*(one(number) for number in range(10)))
        assert sum(won) == 1
        assert codes == ["version_exists"] * 9
        stored = await registry.version("m", "1")
        assert stored is not None
        assert stored["digest"] == f"{won.index(True):064}"
        assert len(await registry.audit_chain("m")) == 1

    play(story)


def test_undeploying_races_with_a_flip_to_the_same_version(play: Play) -> None:
    """Never both: a version that a route names is asked for."""

    async def story(registry: Registry) -> None:
        await registry.add_version(document("m", "2"), TESTER)
        outcomes = set()
        for number in range(60):
            await registry.redis.delete(keys.ROUTES)
            await registry.deploy("m", "2", 1, TESTER)

            def decide(state: ModelState) -> Route:
                if "2" not in state.desired:
                    raise Conflict("gone")
                return Route(model="m", active="2")

            def allow(state: ModelState) -> None:
                if state.route is not None:
                    raise Conflict("routed")

            flip = registry.change_route("m", decide, TESTER, "promote")
            undeploy = registry.undeploy("m", "2", TESTER, allow)
            if number % 2:  # who starts first has the better chance
                flipped, undeployed = await asyncio.gather(flip, undeploy, return_exceptions=True)
            else:
                undeployed, flipped = await asyncio.gather(undeploy, flip, return_exceptions=True)
            state = await registry.model_state("m")
            routed = state.route is not None and state.route.active == "2"
            assert routed == ("2" in state.desired)
            assert isinstance(flipped, Conflict) != isinstance(undeployed, Conflict)
            outcomes.add(routed)
        assert broken_at(await registry.audit_chain("m")) is None
        assert outcomes == {True, False}, "only one side ever won: this was no race"

    play(story)


@pytest.mark.parametrize("moved", ["deployment", "route", "audit head", "revision"])
def test_each_check_of_a_flip_holds_by_itself(play: Play, moved: str) -> None:
    """What a flip rests on moves between its look and its commit, by a write that raises nothing else."""

    async def story(registry: Registry) -> None:
        await registry.add_version(document("m", "2"), TESTER)
        await registry.deploy("m", "2", 1, TESTER)
        moves = {
            "deployment": ("HDEL", keys.desired("m"), "2"),
            "route": ("HSET", keys.ROUTES, "m", b'{"model":"m","epoch":1,"active":"1"}'),
            "audit head": ("HSET", keys.HEADS, "m", f"9 {'0' * 64}"),
            "revision": ("SET", keys.REVISION, "77"),
        }
        asked, commit = 0, registry.committed

        def decide(_: ModelState) -> Route:
            nonlocal asked
            asked += 1
            if asked == 2:
                raise Conflict("asked again")
            return Route(model="m", active="2")

        async def late(change: Change) -> tuple[int, bool]:
            await registry.redis.execute_command(*moves[moved])
            return await commit(change)

        registry.committed = late  # type: ignore[method-assign]
        with pytest.raises(Conflict, match="asked again"):
            await registry.change_route("m", decide, TESTER, "promote")
        assert await registry.history("m", 0, 10) == []

    play(story)


def test_a_script_that_redis_forgot_is_loaded_again(play: Play) -> None:
    async def story(registry: Registry) -> None:
        await registry.commit(Change("m"))
        await registry.redis.script_flush()
        assert await registry.commit(Change("m")) == 2

    play(story)


def test_a_replica_raises_the_revision(play: Play) -> None:
    async def story(registry: Registry) -> None:
        first = await registry.put_replica(replica("m", "1"))
        assert (await registry.model_state("m")).replicas == (replica("m", "1"),)
        assert await registry.drop_replica("m", "m-1-0") == first + 1
        assert (await registry.model_state("m")).replicas == ()

    play(story)
