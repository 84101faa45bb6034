"""Keeps the log's streams within their share of Redis's memory; never removes a stream's last entry."""

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis

from router.journal.block import LOGS_KEY, parse_entry_id, stream_key
from router.journal.segment import Position

STREAM_BYTES = 32 << 20
"""Kept of a stream that no consumer group reads."""

UNREAD_FACTOR = 8
"""A group that does not keep up may hold so many times more, then the oldest goes unread."""

EXPIRE_S = 24 * 3600
"""A stream outlives the local segments of its dead incarnation by this."""


class Trimmer:
    """Trims, retires and unregisters streams. `unread` counts entries that went before a group had them."""

    def __init__(self, redis: "Redis", stream_bytes: int = STREAM_BYTES) -> None:
        self.unread = 0
        self._redis = redis
        self._stream_bytes = stream_bytes

    async def trim(self, incarnation: str) -> None:
        """Remove what every consumer group has done with, or without groups all beyond `stream_bytes`."""
        key = stream_key(incarnation)
        if await self._redis.xlen(key) <= 1:
            return
        groups = await self._redis.xinfo_groups(key)
        if groups:
            floor = min([await self._oldest_needed(key, group) for group in groups])
            await self._redis.xtrim(key, minid=f"{floor.segment + 1}-{floor.offset}", approximate=False)
        length = await self._redis.xlen(key)
        # All entries count: a sample is of the oldest, and small ones of quiet hours would hide large ones.
        size = await self._redis.memory_usage(key, samples=0) or 0
        allowed = self._stream_bytes * (UNREAD_FACTOR if groups else 1)
        if size > allowed and length > 1:
            keep = max(1, length * allowed // size)
            removed = await self._redis.xtrim(key, maxlen=keep, approximate=False)
            if groups:
                self.unread += removed

    async def retire(self, incarnation: str) -> None:
        """Let the stream of a dead incarnation, of which nothing is left on the disk, expire in a day."""
        await self._redis.expire(stream_key(incarnation), EXPIRE_S)

    async def unregister(self, local: Iterable[str]) -> None:
        """Take the names of expired streams out of the register; `local` ones may be about to get theirs."""
        members: Any = await self._redis.smembers(LOGS_KEY)
        names = {name.decode() for name in members}
        for name in sorted(names - set(local)):
            if not await self._redis.exists(stream_key(name)):
                await self._redis.srem(LOGS_KEY, name)

    async def _oldest_needed(self, key: str, group: dict[str, Any]) -> Position:
        """The first entry a group still needs: its oldest pending one, else the last it was given."""
        if group["pending"]:
            pending = await self._redis.xpending(key, group["name"])
            if pending["min"] is not None:
                return parse_entry_id(pending["min"])
        return parse_entry_id(group["last-delivered-id"])
