"""Shipping to a real Redis: each record exactly once, whatever dies, gets lost or stands still."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from router.journal.block import LOGS_KEY, parse_entry, records, stream_key
from router.journal.folder import segments
from router.journal.journal import Journal
from router.journal.segment import Position
from router.journal.shipper import BACKOFF_S, Shipper, backoff
from router.registry.connection import connect
from tests.powerless import powerless

from .conftest import RedisServer


async def shipped(redis: Any, incarnation: str) -> list[str]:
    """The record ids of a stream, in its order."""
    entries = await redis.xrange(stream_key(incarnation))
    return [name for entry, values in entries for name, _ in records(incarnation, parse_entry(entry, values))]


def fill(journal: Journal, count: int, size: int = 100) -> list[str]:
    return [name for n in range(count) for name in journal.append([{"n": n, "filler": "x" * size}])]


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def test_everything_arrives_in_order_under_its_ids(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        journals = [Journal(tmp_path, f"r{i}", segment_bytes=20_000) for i in range(2)]
        ids = [fill(j, 1000) for j in journals]
        shipper = Shipper(tmp_path, redis, block_bytes=3000)
        before = sum(shipper.lag().values())
        assert before == sum(f.size for j in journals for f in segments(tmp_path, j.incarnation))
        assert await shipper.drain(10)
        for journal, expected in zip(journals, ids, strict=True):
            assert await shipped(redis, journal.incarnation) == expected
            last = segments(tmp_path, journal.incarnation)[-1]
            assert shipper.reached()[journal.incarnation] == Position(last.number, last.size)
        assert await redis.smembers(LOGS_KEY) == {b"r0", b"r1"}
        assert set(shipper.lag().values()) == {0}
        assert shipper.shipped_bytes == before
        ids[0] += fill(journals[0], 3)
        assert shipper.lag()["r0"] > 0 == shipper.lag()["r1"]
        journals[0].close()
        torn = segments(tmp_path, "r0")[-1]
        torn.path.write_bytes(torn.path.read_bytes() + b"0badc0de {torn")
        assert await shipper.drain(10)
        assert await shipped(redis, "r0") == ids[0]
        assert shipper.lag()["r0"] == 0, "the torn end of the dead holds nothing back"
        journals[1].close()
        await redis.aclose()

    asyncio.run(run())


def test_a_router_that_is_just_starting_is_not_taken_for_a_dead_one(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        shipper = Shipper(tmp_path, redis)
        (tmp_path / "r0").mkdir()  # the folder comes before the lock
        await shipper.drain(10)
        journal = Journal(tmp_path, "r0")
        ids = fill(journal, 3)
        await shipper.drain(10)
        assert await shipped(redis, "r0") == ids
        journal.close()
        await redis.aclose()

    asyncio.run(run())


class LossyRedis:
    """Loses calls and answers as a bad network does."""

    def __init__(self, redis: Any, dice: random.Random) -> None:
        self._redis, self._dice = redis, dice
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    async def evalsha(self, *arguments: Any) -> Any:
        fate = self._dice.random()
        if fate < 0.15:
            self.lost += 1
            raise RedisConnectionError("the call was lost")
        answer = await self._redis.evalsha(*arguments)
        if fate < 0.4:
            self.lost += 1
            raise RedisConnectionError("the answer was lost")
        return answer


def test_lost_answers_make_no_duplicates_and_no_gaps(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        dice = random.Random(3)
        lossy = LossyRedis(redis, dice)
        journal = Journal(tmp_path, "r0", segment_bytes=10_000)
        ids: list[str] = []
        shipper = Shipper(tmp_path, lossy, block_bytes=2000)  # type: ignore[arg-type]
        for _ in range(200):
            ids += fill(journal, dice.randrange(20))
            try:
                await shipper.ship()
            except RedisError:
                shipper = dice.choice([shipper, Shipper(tmp_path, lossy, block_bytes=dice.randrange(9000))])  # type: ignore[arg-type]
        await Shipper(tmp_path, redis).drain(10)
        assert lossy.lost > 50
        assert await shipped(redis, "r0") == ids
        journal.close()
        await redis.aclose()

    asyncio.run(run())


def test_two_shippers_at_once_do_no_harm(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        clients = [connect(redis_server.url) for _ in range(2)]
        journal = Journal(tmp_path, "r0", segment_bytes=10_000)
        ids: list[str] = []
        stop = asyncio.Event()
        shippers = [
            Shipper(tmp_path, client, block_bytes=size, poll_s=0.001)
            for client, size in zip(clients, (1500, 2300), strict=True)
        ]
        tasks = [asyncio.create_task(s.run(stop)) for s in shippers]
        for _ in range(100):
            ids += fill(journal, 20)
            await asyncio.sleep(0)
        await until(lambda: all(sum(s.lag().values()) == 0 for s in shippers))
        stop.set()
        await asyncio.gather(*tasks)
        assert await shipped(clients[0], "r0") == ids
        assert all(s.shipped_bytes > 0 for s in shippers)
        journal.close()
        for client in clients:
            await client.aclose()

    asyncio.run(run())


def test_redis_killed_and_back(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        journal = Journal(tmp_path, "r0", segment_bytes=10_000)
        shipper = Shipper(tmp_path, redis, block_bytes=2000, poll_s=0.01)
        stop = asyncio.Event()
        task = asyncio.create_task(shipper.run(stop))
        ids: list[str] = []
        for _ in range(3):
            ids += fill(journal, 200)
            await until(lambda: shipper.shipped_bytes > 0 and shipper.trouble is None)
            redis_server.kill()
            ids += fill(journal, 200)
            await until(lambda: shipper.trouble is not None)
            assert shipper.lag()["r0"] > 0
            reached = shipper.reached()["r0"]
            redis_server.start()
            await until(lambda: shipper.lag()["r0"] == 0)
            assert shipper.reached()["r0"] > reached
        stop.set()
        await task
        assert await shipped(redis, "r0") == ids
        journal.close()
        await redis.aclose()

    asyncio.run(run())


def test_a_redis_that_lost_everything_gets_it_again(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        dead, live = Journal(tmp_path, "dead"), Journal(tmp_path, "live")
        ids = {"dead": fill(dead, 100), "live": fill(live, 100)}
        dead.close()
        shipper = Shipper(tmp_path, redis)
        await shipper.drain(10)
        redis_server.kill()
        ids["live"] += fill(live, 1)
        with pytest.raises(RedisError):
            await shipper.ship()
        for file in redis_server.folder.iterdir():
            file.unlink()
        redis_server.start()
        await shipper.drain(10)
        for name, expected in ids.items():
            assert await shipped(redis, name) == expected
        assert await redis.smembers(LOGS_KEY) == {b"live", b"dead"}
        live.close()
        await redis.aclose()

    asyncio.run(run())


def test_a_redis_that_lost_the_last_blocks_unnoticed_gets_them_first(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """A fail-over between two calls breaks no call: the connection was idle, the next one goes elsewhere."""

    async def run() -> None:
        redis: Any = connect(redis_server.url)
        journal = Journal(tmp_path, "r0")
        ids = fill(journal, 100)
        shipper = Shipper(tmp_path, redis, block_bytes=2000)
        await shipper.drain(10)
        before = await redis.dump(stream_key("r0"))
        ids += fill(journal, 100)
        await shipper.drain(10)
        await redis.restore(stream_key("r0"), 0, before, replace=True)  # what a replica had that was behind
        ids += fill(journal, 10)
        await shipper.drain(10)
        assert await shipped(redis, "r0") == ids
        await redis.delete(stream_key("r0"))
        ids += fill(journal, 10)
        await shipper.drain(10)
        assert await shipped(redis, "r0") == ids
        journal.close()
        await redis.aclose()

    asyncio.run(run())


def test_a_full_redis_is_waited_for_and_loses_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis: Any = connect(redis_server.url)
        journal = Journal(tmp_path, "r0")
        ids = fill(journal, 100)
        shipper = Shipper(tmp_path, redis, block_bytes=2000, poll_s=0.01)
        stop = asyncio.Event()
        task = asyncio.create_task(shipper.run(stop))
        await until(lambda: shipper.lag()["r0"] == 0)
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", "1")
        ids += fill(journal, 100)
        await until(lambda: shipper.trouble is not None)
        assert "OutOfMemoryError" in str(shipper.trouble)
        assert shipper.lag()["r0"] > 0
        await redis.config_set("maxmemory", "0")
        await until(lambda: shipper.lag()["r0"] == 0 and shipper.trouble is None)
        stop.set()
        await task
        assert await shipped(redis, "r0") == ids
        journal.close()
        await redis.aclose()

    asyncio.run(run())


def test_streams_that_somebody_cut_do_not_stop_shipping(redis_server: RedisServer, tmp_path: Path) -> None:
    async def run() -> None:
        redis = connect(redis_server.url)
        journal = Journal(tmp_path, "r0")
        fill(journal, 100)
        shipper = Shipper(tmp_path, redis, block_bytes=2000)
        await shipper.drain(10)
        await redis.xtrim(stream_key("r0"), maxlen=0, approximate=False)
        more = fill(journal, 50)
        await Shipper(tmp_path, redis).drain(10)
        found = await shipped(redis, "r0")
        assert found[-50:] == more
        assert len(found) == len(set(found))
        journal.close()
        await redis.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("failures", [1, 2, 5, 1000])
def test_the_back_off_grows_to_its_bound_and_is_spread(failures: int) -> None:
    first, longest = BACKOFF_S
    step = min(longest, first * 2 ** (failures - 1)) if failures < 50 else longest
    assert backoff(failures, 0.0) == pytest.approx(step / 2)
    assert backoff(failures, 0.999) == pytest.approx(step, rel=0.01)


def test_a_segment_that_cannot_be_read_holds_up_only_its_own_incarnation(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    for name in ("r0", "r1"):
        journal = Journal(tmp_path, name)
        journal.append([{"n": 1}])
        journal.close()
    path = tmp_path / "r0" / "00000000.log"
    path.chmod(0o000)

    async def scene() -> None:
        client = connect(redis_server.url)
        shipper = Shipper(tmp_path, client)
        with powerless():
            await shipper.ship()
        assert list(shipper.unreadable) == ["r0"]
        assert "Permission denied" in shipper.unreadable["r0"]
        assert (await client.xlen(stream_key("r0")), await client.xlen(stream_key("r1"))) == (0, 1)
        assert shipper.reached().get("r0", Position(0, 0)) == Position(0, 0)  # retention keeps it
        path.chmod(0o600)
        await shipper.ship()
        assert shipper.unreadable == {}
        assert await client.xlen(stream_key("r0")) == 1
        await client.aclose()

    asyncio.run(scene())
