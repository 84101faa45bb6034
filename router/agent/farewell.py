"""Ends replicas without breaking a request: first nobody sends to one, then it finishes, then it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from router.agent.follow import AWAY
from router.agent.roster import Roster
from router.agent.running import Running
from router.registry.registry import Registry

ACKNOWLEDGED_S = 5.0
DRAIN_S = 30.0

_log = structlog.get_logger()


class Farewell:
    """`gone` is called when a replica has ended, `wake` when the plan should be looked at again."""

    def __init__(
        self,
        registry: Registry,
        roster: Roster,
        node: str,
        gone: Callable[[Running], None],
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._roster = roster
        self._node = node
        self._gone = gone
        self._wake = wake
        self._clock = clock

    async def retire(self, replica: Running) -> None:
        """Ends a replica that runs. While Redis is away it stays, in the state it had."""
        was, replica.phase = replica.phase, "draining"
        try:
            if was == "ready":
                await self._handed_over(replica)
                revision = await self._roster.announce(replica.document(self._node, "draining"))
                await self._acknowledged(revision)
        except AWAY as error:
            _log.warning("retire_waits", replica=replica.id, error=str(error))
            if replica.process.process.running:
                self._roster.put(replica.document(self._node, "ready"))
                await replica.process.process.wait(1.0)
            replica.phase = was
            self._wake()
            if replica.process.process.running:
                return
        await self.finish(replica)

    async def finish(self, replica: Running) -> None:
        """Ends a replica that nobody sends to any more."""
        await self.remove(replica, grace=DRAIN_S)
        _log.info("replica_stopped", replica=replica.id)
        self._wake()

    async def remove(self, replica: Running, grace: float) -> None:
        """Ends a replica's process, and takes it out of all lists."""
        await replica.process.end(grace)
        self._gone(replica)
        self._roster.drop(replica.id)

    async def _handed_over(self, replica: Running) -> None:
        """The one that takes its place must be known to the routers before this one is not."""
        if replica.outgoing:
            await self._roster.flush()
            await self._acknowledged(await self._registry.revision())

    async def _acknowledged(self, revision: int) -> None:
        """Returns when every router that is heard of has `revision`, after 5 s at the latest."""
        deadline = self._clock() + ACKNOWLEDGED_S
        while self._clock() < deadline:
            now, leases = await self._registry.routers()
            if all(lease.revision >= revision or lease.lapsed(now) for lease in leases):
                return
            await asyncio.sleep(0.02)
        _log.warning("not_acknowledged", revision=revision)
