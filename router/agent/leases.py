"""Forgets the leases of this node's routers that have ended, so that no change waits for them; no others'."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from router.registry.registry import Registry

EVERY_S = 5.0
AGAIN_S = 0.5

_log = structlog.get_logger()


class Leases:
    """`running` gives the ids of the routers of this node that live; nobody else may use the node's name."""

    def __init__(self, registry: Registry, node: str, running: Callable[[], set[str]]) -> None:
        self._registry = registry
        self._node = node
        self._running = running
        self._due = asyncio.Event()

    def check(self) -> None:
        """A router has ended: look soon."""
        self._due.set()

    async def run(self) -> None:
        """Looks at once, when asked, and every 5 s: a dead router's last message may arrive after its end."""
        while True:
            self._due.clear()
            try:
                await self.forget_ended()
                wait = EVERY_S
            except (RedisError, OSError) as error:
                _log.warning("leases_not_read", error=str(error))
                wait = AGAIN_S
            await _either(self._due, wait * random.uniform(0.8, 1.2))
            if wait == AGAIN_S:
                await asyncio.sleep(AGAIN_S)

    async def forget_ended(self) -> None:
        """One look. Raises redis' own errors where Redis does not answer."""
        _, leases = await self._registry.routers()
        for lease in leases:
            # Asked after the read: a router that started meanwhile is among the running ones by now.
            if lease.node == self._node and lease.id not in self._running():
                await self._registry.forget_router(lease.id)
                _log.info("router_forgotten", router=lease.id)


async def _either(event: asyncio.Event, timeout: float) -> None:
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({waiting}, timeout=timeout)
    waiting.cancel()
