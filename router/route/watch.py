"""Follows the registry: swaps the table when a revision comes, acknowledges it, and knows when it is stale."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from redis.exceptions import RedisError

from router.access.admission import Rules
from router.documents import ModelState, RouterLease
from router.halt import halt
from router.registry import keys
from router.registry.reads import Changes
from router.registry.registry import Registry
from router.route.freshness import Freshness
from router.route.knowledge import OPEN, Knowledge, Upstreams
from router.route.offline import LastGood, LocalReplicas

log = structlog.get_logger(__name__)

TICK = 0.1  # seconds between looks at the clock
ASK = 0.05  # seconds a request waits for a confirmation


def clock() -> float:
    """Seconds that run on while the process or the machine is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this router is in its acknowledgements, and how it keeps time (milliseconds)."""

    id: str
    node: str
    pid: int
    lease_ms: int = 3000
    poll_ms: int = 1000


class Watch:
    """Holds the current `table`; everything else in the router only reads it."""

    def __init__(
        self,
        registry: Registry,
        upstreams: Upstreams,
        me: Identity,
        last_good: Path,
        local: Path,
        rules: Rules = OPEN,
    ) -> None:
        self._knowledge = Knowledge(upstreams, me.node, rules)
        self.table = self._knowledge.table
        self.draining = False
        self.synced = False  # a table was had, from Redis or from the last-good file
        self.acknowledged = True  # Redis took the last acknowledgement
        self.freshness = Freshness(lease=me.lease_ms / 1000)
        self._registry = registry
        self._me = me
        self._last_good = LastGood(last_good)
        self._local = LocalReplicas(local, me.node, last_good.parent)
        self._regression = self._knowledge.regression
        self._read = 0  # the revision up to which the registry was read
        self._doubt = True  # it may be another Redis than before: read everything and compare
        self._fell_to: int | None = None  # the revision of a Redis that fell back
        self._confirming: asyncio.Task[bool] | None = None
        self._again = False
        self._tasks: list[asyncio.Task[None]] = []

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Reads the registry, or the last good table where Redis is away; then follows in the background.

        A Redis that is older than the last good table has lost changes: then too that table is served.
        """
        self.freshness.tick(clock())
        known = await self._last_good.load()
        if known is not None:
            await self._knowledge.recall(known)
            self.table, self._read = self._knowledge.table, known.revision
        if (not await self.confirm() or self._regression.revision) and known is not None:
            self.synced = True
            log.warning("started_from_last_good_table", revision=known.revision, models=len(known.models))
            await self._follow_local()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each) for each in (self._tick(), self._poll(), self._listen())]

    async def close(self) -> None:
        """Stops following and takes this router out of the known ones, if Redis answers."""
        await halt(self._tasks)
        if self._last_good.due(float("inf")):
            await self._save()
        try:
            await self._registry.forget_router(self._me.id)
        except (RedisError, OSError) as error:
            log.warning("deregister_failed", error=str(error))

    def state(self, model: str) -> ModelState:
        """The documents behind a model's entry in the table: wishes, and replicas in whatever state."""
        return self._knowledge.states.get(model) or ModelState(
            model=model, route=None, replicas=(), desired={}
        )

    @property
    def regressed(self) -> bool:
        """Whether Redis lost something that this router has."""
        return bool(self._regression)

    @property
    def routes_lost(self) -> int:
        """Models whose route Redis has lost, or has in an older form than this router."""
        return len(self._regression.models)

    # -- freshness -----------------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """Whether requests may be routed by the table without asking Redis."""
        return self.freshness.fresh(clock())

    async def ensure_fresh(self) -> bool:
        """Asks once for all waiting requests, at most 50 ms; False: route by the last table and say so."""
        self.freshness.tick(clock())  # notices a standstill before anything is asked
        loop = asyncio.get_running_loop()
        end = loop.time() + ASK
        while not self.fresh:
            if self.freshness.failing or loop.time() >= end:
                return False  # the background asks on; no request waits for a Redis known to be away
            # A read that was under way before the standstill proves nothing: then there is a second round.
            asked = asyncio.ensure_future(self.confirm())
            done, _ = await asyncio.wait({asked}, timeout=end - loop.time())
            if not done:
                self.freshness.failing = True
        return True

    async def confirm(self) -> bool:
        """Reads what changed and acknowledges; whether Redis answered. One read serves all who ask at once."""
        if self._confirming is None:
            self._confirming = asyncio.ensure_future(self._confirm())
            self._confirming.add_done_callback(self._confirmed)
        return await asyncio.shield(self._confirming)

    def _confirmed(self, task: asyncio.Task[bool]) -> None:
        self._confirming = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("confirm_failed", exc_info=error)
        if self._again:
            self._again = False
            self._hint()

    def _hint(self) -> None:
        """There may be a new revision: read now, or once more after the read that is under way."""
        if self._confirming is not None:
            self._again = True
            return
        task = self._confirming = asyncio.ensure_future(self._confirm())
        task.add_done_callback(self._confirmed)

    async def _confirm(self) -> bool:
        asked_at = clock()
        try:
            await self._follow()
        except (RedisError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            if not self.freshness.failing:
                log.warning("redis_away", error=str(error) or type(error).__name__)
            self.freshness.failing = self._doubt = True
            return False
        self.freshness.confirmed(asked_at)
        self.synced = True
        await self._acknowledge()
        return True

    async def _acknowledge(self) -> None:
        """A Redis that takes no writes (full, too few replicas) is read all the same."""
        try:
            await self._registry.acknowledge(self._lease())
        except (RedisError, OSError, TimeoutError) as error:
            if self.acknowledged:
                log.warning("acknowledgement_refused", error=str(error) or type(error).__name__)
            self.acknowledged = False
        else:
            self.acknowledged = True

    def _lease(self) -> RouterLease:
        # What a Redis that fell back calls a new revision is not what this router has.
        return RouterLease(
            id=self._me.id,
            node=self._me.node,
            pid=self._me.pid,
            revision=0 if self._regression.revision else self._read,
            highest=self._read,
            state="draining" if self.draining else "serving",
            refused=self._regression.reasons()
            | {model: why for model, (_, why) in self._knowledge.refused.items()},
            lease_ms=self._me.lease_ms,
        )

    # -- tables --------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Reads what changed and takes it; everything, where it may be another Redis than before."""
        whole = self._doubt
        found = await self._pages(0 if whole else self._since())
        if self._regression.compare(self._read, found.revision) and found.revision == self._fell_to:
            return
        if not whole and (self._regression.revision or self._fell_to is not None):
            whole, found = True, await self._pages(0)
        states = {state.model: state for state in found.models}
        if self._regression.compare(self._read, found.revision):
            if self._fell_to is None:
                log.error("revision_regressed", stored=found.revision, known=self._read)
            self._knowledge.look_for_losses(states)
            self._fell_to, self._doubt = found.revision, False
            return
        if found.keys is not None:
            self._knowledge.admit(found.keys)  # first: a revoked key must not wait for a slow replica
            self.table = self._knowledge.table
            self._last_good.changed(clock())
        if states:
            await self._knowledge.learn(self._registry, found, anew=whole)
            states = self._knowledge.not_older(states)
            if self.synced and (whole or self._regression):
                # It may name replicas of long ago, or not yet all; of those of this host the agent knows best.
                self._local.forget()
                states |= await self._local.news(states)
            await self._take(states, found.revision)
        if whole:
            self._knowledge.look_for_losses({state.model: state for state in found.models})
        self._read, self._fell_to, self._doubt = found.revision, None, False

    def _since(self) -> int:
        """The revision to read from: a route that was refused is read again."""
        epochs = [epoch for epoch, _ in self._knowledge.refused.values()]
        return min([self._read, *(epoch - 1 for epoch in epochs)])

    async def _pages(self, since: int) -> Changes:
        """All that changed after `since`."""
        found = await self._registry.read_since(since)
        while not found.complete:
            more = await self._registry.read_since(found.revision)
            found = found.followed_by(more)
        return found

    async def _take(self, states: dict[str, ModelState], revision: int) -> None:
        await self._knowledge.apply(states, revision, first=not self.synced)
        self.table = self._knowledge.table
        self._last_good.changed(clock())

    async def _follow_local(self) -> None:
        """While Redis is away, or older than what is known: the replicas of this host as the agent sees them."""
        states = await self._local.news(self._knowledge.states)
        if states:
            await self._take(states, self.table.revision)

    async def _save(self) -> None:
        await self._last_good.save(self._knowledge.snapshot(self._read), clock())

    # -- background ----------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            self.freshness.tick(clock())
            await asyncio.sleep(TICK)
            if self._last_good.due(clock()):
                await self._save()

    async def _poll(self) -> None:
        took = 0.0
        while True:
            # From question to question: a slow Redis must not make the table stale by our own waiting.
            every = self._me.poll_ms / 1000 * random.uniform(0.75, 1.25)
            await asyncio.sleep(max(every - took, every / 4))
            asked_at = clock()
            if not await self.confirm() or self._regression.revision:
                await self._follow_local()
            else:
                self._local.forget()
            took = clock() - asked_at

    async def _listen(self) -> None:
        """Hints only save time: a lost one costs a poll interval, never a change."""
        pause, lost = 0.05, False
        while True:
            pubsub = self._registry.redis.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(keys.HINT)
                # A connection ends with a server: this may be another, or the same as of yesterday.
                self._doubt |= lost
                self._hint()
                pause = 0.05
                while not self.freshness.failing:  # a server that hangs ends no connection: open another
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
                    if message is not None and int(message["data"]) > self._read:
                        self._hint()
            except (RedisError, OSError, TimeoutError) as error:
                log.info("hint_connection_lost", error=str(error) or type(error).__name__)
            finally:
                await pubsub.aclose()
            lost = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 1.0)
