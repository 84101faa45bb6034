"""Ships the journal's lines to Redis Streams, each exactly once; keeps no state but the streams themselves."""

import asyncio
import random
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from router.journal.block import (
    LOGS_KEY,
    Block,
    entry_id,
    fields,
    parse_entry,
    parse_entry_id,
    read_block,
    stream_key,
)
from router.journal.folder import alive, incarnations, read_line, segment_path, segments
from router.journal.segment import Position
from router.registry.script import Script

BLOCK_BYTES = 256 << 10
BLOCK_RECORDS = 500
POLL_S = 0.2
TURN_BLOCKS = 16
"""Blocks of one incarnation before it is the next one's turn."""

BACKOFF_S = (0.1, 2.0)
"""First and longest wait for a Redis that is away; jittered."""


class Unreadable(Exception):
    """A segment cannot be read: its incarnation waits, the others go on."""


class Shipper:
    """Ships every incarnation under `root`; one task only.

    `redis` returns bytes (no `decode_responses`), has time-outs and does not retry by itself. Two shippers
    of one root do no harm: an entry's id is where its block begins, and Redis takes each id once. Nor does a
    Redis that loses the last blocks, in a fail-over or a crash: it takes a block only behind the one before it.
    """

    def __init__(
        self,
        root: Path,
        redis: "Redis",
        block_bytes: int = BLOCK_BYTES,
        block_records: int = BLOCK_RECORDS,
        poll_s: float = POLL_S,
        rng: random.Random | None = None,
    ) -> None:
        self.shipped_bytes = 0
        self.trouble: str | None = None
        self.unreadable: dict[str, str] = {}  # incarnation -> why it waits
        self._root, self._redis = root, redis
        self._add_behind = Script(redis, "ship")
        self._block_bytes, self._block_records, self._poll_s = block_bytes, block_records, poll_s
        self._rng = rng or random.Random()
        self._places: dict[str, Position] = {}  # where to go on; forgotten whenever Redis gave trouble
        self._last_ids: dict[str, str] = {}  # the entry that must be a stream's last
        self._reached: dict[str, Position] = {}  # as far as a stream was last known to reach
        self._done: set[str] = set()  # dead and wholly shipped
        self._registered: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Ship until `stop`; trouble with Redis is waited out and told in `trouble`."""
        failures = 0
        while not stop.is_set():
            try:
                more = await self.ship()
                failures, self.trouble = 0, None
                wait = 0.0 if more else self._poll_s
            except (RedisError, OSError) as error:
                failures += 1
                self.trouble = f"{type(error).__name__}: {error}"
                wait = backoff(failures, self._rng.random())
            try:
                await asyncio.wait_for(stop.wait(), wait)
            except TimeoutError:
                continue

    async def ship(self) -> bool:
        """One turn for each incarnation; True when more waits. RedisError or OSError: the next turn goes on."""
        more = False
        try:
            for name in incarnations(self._root):
                if name in self._done:
                    continue
                try:
                    more = await self._turn(name) or more
                    self.unreadable.pop(name, None)
                except Unreadable as error:
                    self.unreadable[name] = str(error)
        except BaseException:
            # Whether the last block arrived is not known, nor whether it is the same Redis that comes back:
            # only the streams know where to go on.
            self._places.clear()
            self._last_ids.clear()
            self._done.clear()
            self._registered.clear()
            raise
        return more

    async def drain(self, timeout_s: float) -> bool:
        """Ship all there is; False when it was not done within `timeout_s`. Raises as `ship` does."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.ship():
                    pass
        except TimeoutError:
            return False
        return True

    def lag(self) -> dict[str, int]:
        """Bytes not yet known to be shipped, by incarnation; 0 for those wholly shipped."""
        return {name: self._lag(name) for name in incarnations(self._root)}

    def reached(self) -> dict[str, Position]:
        """How far each incarnation's stream was last known to reach; retention deletes no further."""
        return dict(self._reached)

    def forget(self, incarnation: str) -> None:
        """Drop what is kept in memory of an incarnation whose folder is gone."""
        for known in (self._places, self._reached, self.unreadable):
            known.pop(incarnation, None)
        self._done.discard(incarnation)
        self._registered.discard(incarnation)

    async def _turn(self, name: str) -> bool:
        place = self._places.get(name)
        if place is None:
            place = self._note(name, await self._end_of_stream(name))
        for _ in range(TURN_BLOCKS):
            block, behind = self._read(name, place)
            if block is None and self._dead(name):
                # Looked at again, for what it wrote between the first look and its death.
                block, behind = self._read(name, place)
                if block is None:
                    behind = self._last(name, behind)
                    self._done.add(name)
            if block is None:
                self._note(name, behind)
                return False
            place = self._note(
                name, behind if await self._add(name, block) else await self._behind(name, block)
            )
        return True

    def _read(self, name: str, place: Position) -> tuple[Block | None, Position]:
        try:
            return read_block(self._root, name, place, self._block_bytes, self._block_records)
        except OSError as error:
            raise Unreadable(f"{name} from segment {place.segment} on: {error}") from error

    def _dead(self, name: str) -> bool:
        """Whether the incarnation will write no more. A folder without a segment may be just about to live."""
        return bool(segments(self._root, name)) and not alive(self._root / name)

    async def _add(self, name: str, block: Block) -> bool:
        """Ship one block; False when Redis refused it.

        Because it, or a longer one from there, is shipped already; or because the one before it is gone.
        """
        values: list[Any] = [part for field in fields(block).items() for part in field]
        entry, before = entry_id(block.start), self._last_ids.get(name, "")
        try:
            if not await self._add_behind([stream_key(name)], [before, entry, *values]):
                return False
        except ResponseError as error:
            if "equal or smaller" not in str(error):
                raise
            return False
        self._last_ids[name] = entry
        await self._register(name)
        self.shipped_bytes += len(block.raw)
        return True

    async def _behind(self, name: str, block: Block) -> Position:
        """Where to go on after a refusal of `block`."""
        expected = self._last_ids.get(name, "")
        place = await self._end_of_stream(name)
        if place > block.start or self._last_ids.get(name, "") != expected:
            return place
        # Somebody deleted the stream's last entries, and Redis still refuses ids up to the last of them. What
        # they held cannot be told any more; the first id it takes is that of the line behind.
        info = await self._redis.xinfo_stream(stream_key(name))
        last = parse_entry_id(info["last-generated-id"])
        line = read_line(segment_path(self._root, name, last.segment), last.offset)
        return Position(last.segment, line.end if line else last.offset + 1)

    async def _end_of_stream(self, name: str) -> Position:
        entries = await self._redis.xrevrange(stream_key(name), count=1)
        if not entries:
            self._last_ids.pop(name, None)
            return Position(0, 0)
        await self._register(name)
        entry: Any = entries[0]  # typed for every kind of answer; ours are bytes
        self._last_ids[name] = entry[0].decode()
        block = parse_entry(entry[0], entry[1])
        return Position(block.start.segment, block.end)

    async def _register(self, name: str) -> None:
        """After the stream exists: whoever finds a name without a stream may take it for an expired one."""
        if name not in self._registered:
            await self._redis.sadd(LOGS_KEY, name)
            self._registered.add(name)

    def _note(self, name: str, place: Position) -> Position:
        self._places[name] = self._reached[name] = place
        return place

    def _last(self, name: str, place: Position) -> Position:
        """Behind the torn end that a killed router may have left."""
        files = segments(self._root, name)
        return max(place, Position(files[-1].number, files[-1].size)) if files else place

    def _lag(self, name: str) -> int:
        place = self._reached.get(name, Position(0, 0))
        ahead = [s for s in segments(self._root, name) if s.number >= place.segment]
        return sum(max(s.size - (place.offset if s.number == place.segment else 0), 0) for s in ahead)


def backoff(failures: int, random: float) -> float:
    """Seconds to wait after so many failures in a row; `random` from [0, 1)."""
    first, longest = BACKOFF_S
    return float(min(longest, first * 2.0 ** min(failures - 1, 10)) * (0.5 + random / 2))
