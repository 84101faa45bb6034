"""Keys in a real Redis: one script a change, races that nobody loses, and what routers read of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest

from router.access.grant import Grant
from router.access.key import MOST, Key, revoked
from router.access.secret import digest
from router.errors import Conflict
from router.registry import keys
from router.registry.audit import Actor, broken_at
from router.registry.keyring import change_key, new_name, restore_keys
from router.registry.registry import Registry
from tests.registry.conftest import Play

ACTOR = Actor("tester")
NOW = time.time()


def key(number: int, name: str | None = None) -> Key:
    """A key without a story."""
    return Key(
        id=f"{number:08d}",
        name=name or f"k{number}",
        digest=digest(str(number)),
        grants=(Grant("caller", "m*"),),
        created=f"2026-01-01T00:00:{number % 60:02d}Z",
        created_by="tester",
    )


async def keep(registry: Registry, made: Key) -> int:
    """Stores one."""
    return (await change_key(registry, lambda _: made, ACTOR, "create")).revision


def test_a_change_raises_the_revision_and_is_read_with_the_models(play: Play) -> None:
    async def story(registry: Registry) -> None:
        document = {"model": "m", "version": "1", "digest": "d", "runtime": "onnx"}
        before = await registry.add_version(document, ACTOR)
        assert (await registry.read_since(0)).keys is None
        revision = await keep(registry, key(1))
        assert revision > before
        found = await registry.read_since(before)
        assert (found.revision, found.models, found.version_counts) == (revision, (), {})
        assert found.keys is not None
        assert [(each.id, each.revision) for each in found.keys] == [("00000001", revision)]
        assert (await registry.read_since(revision)).keys is None
        whole = await registry.read_since(0)
        assert [state.model for state in whole.models] == ["m"]
        assert whole.keys == found.keys
        assert await registry.models() == ["m"]

    play(story)


def test_keys_are_read_over_pages(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.registry.reads.PAGE", 2)

    async def story(registry: Registry) -> None:
        for number in range(5):
            document = {"model": f"m{number}", "version": "1", "digest": "d", "runtime": "onnx"}
            await registry.add_version(document, ACTOR)
            await keep(registry, key(number))
        found = await registry.read_since(0)
        while not found.complete:
            found = found.followed_by(await registry.read_since(found.revision))
        assert len(found.models) == 5
        assert found.keys is not None
        assert len(found.keys) == 5

    play(story)


def test_many_at_once_are_one_chain_and_none_is_lost(play: Play) -> None:
    async def story(registry: Registry) -> None:
        made = [key(number) for number in range(20)]
        revisions = await asyncio.gather(*(keep(registry, each) for each in made))
        assert len(set(revisions)) == 20
        stored = await registry.caller_keys()
        assert {each.id for each in stored} == {each.id for each in made}
        chain = await registry.audit_chain(keys.KEYRING)
        assert len(chain) == 20
        assert broken_at(chain) is None
        assert {each["object"] for each in chain} == {keys.KEYRING}

    play(story)


def test_of_two_with_one_name_one_is_made(play: Play) -> None:
    async def story(registry: Registry) -> None:
        def made(number: int) -> object:
            def decide(present: Mapping[str, Key]) -> Key | None:
                new_name(present, "shop", NOW)
                return key(number, "shop")

            return change_key(registry, decide, ACTOR, "create")

        found = await asyncio.gather(*(made(n) for n in range(8)), return_exceptions=True)  # type: ignore[call-overload]
        assert sum(isinstance(each, Conflict) for each in found) == 7
        assert len(await registry.caller_keys()) == 1

    play(story)


def test_nothing_to_change_is_no_change(play: Play) -> None:
    async def story(registry: Registry) -> None:
        revision = await keep(registry, key(1))
        done = await change_key(registry, lambda _: None, ACTOR, "revoke")
        assert (done.key, done.revision) == (None, revision)
        assert await registry.revision() == revision

    play(story)


def test_keys_are_bounded() -> None:
    with pytest.raises(Conflict) as refused:
        new_name({str(number): key(number) for number in range(MOST)}, "one-more", NOW)
    assert refused.value.code == "too_many_keys"


def test_lost_keys_come_back_above_all_and_newer_ones_stay(play: Play) -> None:
    async def story(registry: Registry) -> None:
        await keep(registry, key(1))
        await keep(registry, key(2))
        known = {each.id: each for each in await registry.caller_keys()}
        highest = await registry.revision()
        await registry.redis.flushall()
        await keep(registry, revoked(key(2), NOW))
        assert await restore_keys(registry, known, ACTOR) == ("00000001",)
        stored = {each.id: each for each in await registry.caller_keys()}
        assert stored["00000001"].revision > highest
        assert stored["00000002"].revoked is not None

    play(story)
