"""Streams stay within their share, and what a consumer group still needs stays in them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from router.journal.block import LOGS_KEY, stream_key
from router.journal.journal import Journal
from router.journal.shipper import Shipper
from router.journal.trimmer import EXPIRE_S, UNREAD_FACTOR, Trimmer
from router.registry.connection import connect

from .conftest import RedisServer

KEY = stream_key("r0")


async def filled(redis: Any, root: Path) -> list[bytes]:
    """A stream of some 100 entries of 4 KiB; their ids."""
    journal = Journal(root, "r0")
    for n in range(4000):
        journal.append([{"n": n, "filler": "x" * 50}])
    journal.close()
    await Shipper(root, redis, block_bytes=4096).drain(10)
    return [name for name, _ in await redis.xrange(KEY)]


async def kept(redis: Any) -> list[bytes]:
    return [name for name, _ in await redis.xrange(KEY)]


def test_without_groups_the_newest_stay(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        ids = await filled(redis, tmp_path)
        trimmer = Trimmer(redis, stream_bytes=100_000)
        await trimmer.trim("r0")
        left = await kept(redis)
        assert left == ids[-len(left) :]
        assert len(left) < len(ids) // 2
        assert 50_000 < (await redis.memory_usage(KEY, samples=0) or 0) < 150_000
        await Trimmer(redis, stream_bytes=1).trim("r0")
        assert await kept(redis) == ids[-1:], "the last entry tells where to go on"
        await Trimmer(redis, stream_bytes=1).trim("none")
        await redis.aclose()

    asyncio.run(run())


def test_small_entries_of_quiet_hours_hide_no_large_ones(redis_server: RedisServer) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        for number in range(64):
            await redis.xadd(KEY, {"b": b"x" * 100}, id=f"0-{number + 1}")
        for number in range(40):
            await redis.xadd(KEY, {"b": b"x" * 100_000}, id=f"1-{number + 1}")
        trimmer = Trimmer(redis, stream_bytes=1_000_000)
        for _ in range(4):  # by the mean of what is left, nearer each time
            await trimmer.trim("r0")
        assert 0 < (await redis.memory_usage(KEY, samples=0) or 0) < 1_100_000
        await redis.aclose()

    asyncio.run(run())


def test_with_groups_what_the_slowest_needs_stays(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        ids = await filled(redis, tmp_path)
        trimmer = Trimmer(redis)
        for group in ("fast", "slow"):
            await redis.xgroup_create(KEY, group, "0-0")
        await trimmer.trim("r0")
        assert await kept(redis) == ids, "nobody has read yet"
        await redis.xreadgroup("fast", "c", {KEY: ">"}, count=50)
        await redis.xreadgroup("slow", "c", {KEY: ">"}, count=20)
        await redis.xack(KEY, "fast", *ids[:50])
        await redis.xack(KEY, "slow", *ids[:10])
        await trimmer.trim("r0")
        assert await kept(redis) == ids[10:], "the oldest pending one stays"
        await redis.xack(KEY, "slow", *ids[10:20])
        await trimmer.trim("r0")
        assert await kept(redis) == ids[19:], "the last that was given may go next time"
        assert trimmer.unread == 0
        hard = Trimmer(redis, stream_bytes=100_000 // UNREAD_FACTOR)
        await hard.trim("r0")
        left = await kept(redis)
        assert left == ids[-len(left) :]
        assert hard.unread == len(ids) - 19 - len(left) > 0
        await redis.aclose()

    asyncio.run(run())


def test_the_dead_expire_and_leave_the_register(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        await filled(redis, tmp_path)
        trimmer = Trimmer(redis)
        await trimmer.retire("r0")
        assert await redis.ttl(KEY) == pytest.approx(EXPIRE_S, abs=5)
        await trimmer.unregister([])
        assert await redis.smembers(LOGS_KEY) == {b"r0"}
        await redis.delete(KEY)
        await trimmer.unregister(["r0"])
        assert await redis.smembers(LOGS_KEY) == {b"r0"}
        await trimmer.unregister([])
        assert await redis.smembers(LOGS_KEY) == set()
        await redis.aclose()

    asyncio.run(run())
