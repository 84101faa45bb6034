"""Follows the registry for the agent: on the hint, on each reconnect and on a jittered poll; changes nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from router.documents import ModelState
from router.registry import keys
from router.registry.registry import Registry

AWAY = (RedisError, OSError, TimeoutError)
"""What redis' client raises where Redis does not answer, or answers that it cannot."""

RECONNECT_S = 0.3

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class News:
    """Models as they stood at `revision`; all that there are if `everything`.

    `behind`: they stem from a Redis older than what was read before (a fail-over): what is missing in them was
    not taken back by anybody.
    """

    revision: int
    models: tuple[ModelState, ...]
    everything: bool
    behind: bool = False


class Follow:
    """Calls `tell` with every change, and with everything after each reconnect. `tell` may raise `AWAY`."""

    def __init__(self, registry: Registry, poll_s: float, tell: Callable[[News], Awaitable[None]]) -> None:
        self._registry = registry
        self._poll_s = poll_s
        self._tell = tell
        self._revision = 0
        self._behind: int | None = None

    async def run(self) -> None:
        """Follows for ever; while Redis is away it tries to connect about three times a second."""
        connected = True
        while True:
            try:
                async with self._registry.redis.pubsub() as hints:
                    await hints.subscribe(keys.HINT)
                    await self._read(everything=True)
                    if not connected:
                        _log.info("registry_back", revision=self._revision)
                    connected = True
                    await self._listen(hints)
            except AWAY as error:
                if connected:
                    _log.warning("registry_away", error=str(error) or type(error).__name__)
                connected = False
                await asyncio.sleep(RECONNECT_S * random.uniform(0.5, 1.5))

    async def _listen(self, hints: object) -> None:
        get_message = hints.get_message  # type: ignore[attr-defined]
        while True:
            wait = self._poll_s * random.uniform(0.5, 1.5)
            message = await get_message(ignore_subscribe_messages=True, timeout=wait)
            if message is not None and self._knows(message["data"]):
                continue  # an earlier read had it: hints come in bursts
            await self._read(everything=False)

    def _knows(self, hint: bytes) -> bool:
        return hint.isdigit() and int(hint) <= self._revision and self._behind is None

    async def _read(self, *, everything: bool) -> None:
        leaving = self._behind is not None
        revision, found = await self._pages(0 if everything or leaving else self._revision)
        if revision < self._revision:
            await self._fallen_back(revision, everything or leaving, found)
            return
        if leaving:  # first what was asked for meanwhile, then what changed since we knew it last
            await self._tell(News(revision, found, everything=True, behind=True))
            revision, found = await self._pages(self._revision)
            everything = False
        if found or everything:
            await self._tell(News(revision, found, everything))
        self._revision, self._behind = revision, None

    async def _fallen_back(self, revision: int, complete: bool, found: tuple[ModelState, ...]) -> None:
        """Redis lost changes. Its next one lies above all that any router saw; until then nothing is undone."""
        if revision == self._behind:
            return
        _log.error("registry_behind", revision=revision, read=self._revision)
        if not complete:
            revision, found = await self._pages(0)
        await self._tell(News(revision, found, everything=True, behind=True))
        self._behind = revision

    async def _pages(self, since: int) -> tuple[int, tuple[ModelState, ...]]:
        """All changes after `since`, and the revision they lead to."""
        found: list[ModelState] = []
        while True:
            changes = await self._registry.read_since(since)
            found += changes.models
            if changes.complete:
                return changes.revision, tuple(found)
            since = changes.revision
