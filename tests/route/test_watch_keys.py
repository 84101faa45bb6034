"""Keys of callers on the way to a router: hints, a dead Redis, a file, and a Redis that lost a revocation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from router.access import credential
from router.access.grant import Grant
from router.access.key import Key, revoked
from router.access.secret import digest
from router.errors import Unauthorized
from router.registry import keys
from router.registry.connection import connect
from router.registry.keyring import change_key
from router.registry.registry import Registry
from router.route.watch import Watch
from tests.journal.conftest import RedisServer
from tests.route.test_watch import ACTOR, ME, Below, Scene, fixture_play, fixture_server, until

__all__ = ["fixture_play", "fixture_server"]

SECRET = "pm_abcd1234_" + "s" * 32
KEY = Key(
    id="abcd1234",
    name="shop",
    digest=digest(SECRET),
    grants=(Grant("caller"),),
    created="2026-01-01T00:00:00Z",
    created_by="tester",
)
Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


def admits(watch: Watch) -> bool:
    """Whether the key counts by the table of now."""
    given = credential.find([(b"authorization", b"Bearer " + SECRET.encode())])
    try:
        watch.table.admission.principal(given, time.time())
    except Unauthorized:
        return False
    return True


async def keep(registry: Registry, key: Key) -> int:
    """Stores a key as it is."""
    return (await change_key(registry, lambda _: key, ACTOR, "create")).revision


def test_a_key_counts_before_its_revision_is_acknowledged(play: Play) -> None:
    async def story(scene: Scene) -> None:
        seen: list[tuple[int, bool]] = []
        acknowledge = scene.watch._registry.acknowledge

        async def noted(lease: object) -> int:
            seen.append((scene.watch._read, admits(scene.watch)))
            return await acknowledge(lease)  # type: ignore[arg-type]

        scene.watch._registry.acknowledge = noted  # type: ignore[method-assign]
        assert not admits(scene.watch)
        made = await keep(scene.registry, KEY)
        await until(lambda: admits(scene.watch), 1.0)
        ended = await keep(scene.registry, revoked(KEY, time.time()))
        await until(lambda: not admits(scene.watch), 1.0)
        await until(lambda: seen[-1][0] >= ended)
        assert all(counts for revision, counts in seen if made <= revision < ended)
        assert not any(counts for revision, counts in seen if revision >= ended)
        assert set(scene.watch.table.entries) == {"m"}

    play(story)


def test_a_slow_replica_does_not_keep_a_revocation_waiting(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await keep(scene.registry, KEY)
        await until(lambda: admits(scene.watch))
        gate = asyncio.Event()

        async def slow(_: object) -> None:
            await gate.wait()

        scene.below.prepare = slow  # type: ignore[assignment, method-assign]
        await keep(scene.registry, revoked(KEY, time.time()))
        await scene.registry.put_replica((await scene.registry.model_state("m")).replicas[0])
        await until(lambda: not admits(scene.watch))
        gate.set()

    play(story)


def test_keys_go_on_while_redis_is_away_and_over_a_restart(
    play: Play, server: RedisServer, tmp_path: Path
) -> None:
    async def story(scene: Scene) -> None:
        await keep(scene.registry, KEY)
        await until(lambda: admits(scene.watch))
        path = tmp_path / "table.json"
        await until(lambda: path.exists() and KEY.digest in path.read_text())
        assert SECRET not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        server.kill()
        await until(lambda: scene.watch.freshness.failing)
        assert admits(scene.watch)
        registry = Registry(connect(server.url, timeout=0.5))
        again = Watch(registry, Below(), ME, path, scene.local)
        await again.start()
        assert admits(again)
        await again.close()
        await registry.close()

    play(story)


def test_a_redis_that_lost_a_revocation_revives_no_key(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await keep(scene.registry, KEY)
        before = await scene.registry.redis.hget(keys.KEYS, KEY.id)
        await keep(scene.registry, revoked(KEY, time.time()))
        await until(lambda: any(key.revoked for key in scene.watch.table.admission.keys.values()))
        # Restored from a backup of before, and changed since: its revision lies above all.
        await scene.registry.redis.hset(keys.KEYS, KEY.id, before)
        other = Key(**{f: getattr(KEY, f) for f in KEY.__struct_fields__} | {"id": "other000"})
        await keep(scene.registry, other)
        await until(lambda: "other000" in scene.watch.table.admission.keys)
        assert not admits(scene.watch)

    play(story)
