"""Follows the registry: swaps the table when a revision comes, acknowledges it, and knows when it is stale."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
from redis.exceptions import RedisError

from router.documents import ModelState, Replica, RouterLease, Version
from router.halt import halt
from router.registry import keys
from router.registry.reads import Changes
from router.registry.registry import Registry
from router.route.freshness import Freshness
from router.route.snapshot import Snapshot, load, local_replicas, save
from router.route.table import Entry, Table, build, not_ready

log = structlog.get_logger(__name__)

TICK = 0.1  # seconds between looks at the clock
ASK = 0.05  # seconds a request waits for a confirmation
SAVE_EVERY = 0.5  # seconds between two writings of the last-good file


def clock() -> float:
    """Seconds that run on while the process or the machine is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Upstreams(Protocol):
    """What the watch asks of the room below: connect an entry's replicas, drop what is gone."""

    async def prepare(self, entry: Entry) -> str | None:
        """Connects; why the entry cannot be served, or None."""

    def retain(self, table: Table, models: list[str]) -> None:
        """Closes what the table no longer names."""


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
        self, registry: Registry, upstreams: Upstreams, me: Identity, last_good: Path, local: Path
    ) -> None:
        self.table = Table()
        self.draining = False
        self.synced = False  # a table was had, from Redis or from the last-good file
        self.regressed = False  # Redis shows a lower revision than it once did
        self.freshness = Freshness(lease=me.lease_ms / 1000)
        self._registry = registry
        self._upstreams = upstreams
        self._me = me
        self._last_good = last_good
        self._local = local
        self._local_mtime = 0
        self._states: dict[str, ModelState] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self._known: dict[str, frozenset[str]] = {}
        self._refused: dict[str, tuple[int, str]] = {}  # model -> (epoch refused, why)
        self._read = 0  # the revision up to which the registry was read
        self._confirming: asyncio.Task[bool] | None = None
        self._again = False
        self._save_at: float | None = None
        self._saved_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Reads the registry, or the last good table where Redis is away; then follows in the background."""
        self.freshness.tick(clock())
        if not await self.confirm():
            await self._start_from_file()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each) for each in (self._tick(), self._poll(), self._listen())]

    async def close(self) -> None:
        """Stops following and takes this router out of the known ones, if Redis answers."""
        await halt(self._tasks)
        if self._save_at is not None:
            await self._save()
        try:
            await self._registry.forget_router(self._me.id)
        except (RedisError, OSError) as error:
            log.warning("deregister_failed", error=str(error))

    def state(self, model: str) -> ModelState:
        """The documents behind a model's entry in the table: wishes, and replicas in whatever state."""
        return self._states.get(model) or ModelState(model=model, route=None, replicas=(), desired={})

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
            refused = min(self._refused.values(), default=None)
            changes = await self._registry.read_since(self._read if refused is None else refused[0] - 1)
            await self._accept(changes)
            while not changes.complete:
                changes = await self._registry.read_since(self._read)
                await self._accept(changes)
            self.freshness.confirmed(asked_at)
            self.synced = True
            await self._registry.acknowledge(self._lease())
        except (RedisError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            if not self.freshness.failing:
                log.warning("redis_away", error=str(error) or type(error).__name__)
            self.freshness.failing = True
            return False
        return True

    # -- tables --------------------------------------------------------------------------------------------

    async def _accept(self, changes: Changes) -> None:
        if changes.revision < self._read:
            if not self.regressed:
                log.error("revision_regressed", stored=changes.revision, known=self._read)
            self.regressed = True
            return
        self.regressed = False
        if changes.models:
            await self._learn_versions(changes)
            await self._apply({state.model: state for state in changes.models}, changes.revision)
        self._read = changes.revision

    async def _learn_versions(self, changes: Changes) -> None:
        """Fetches the names and documents the table needs and does not have; neither ever changes."""
        counts = changes.version_counts
        grown = [model for model, count in counts.items() if count != len(self._known.get(model, ()))]
        if grown:
            self._known.update(await self._registry.version_names(grown))
        named = {(state.model, name) for state in changes.models for name in _named(state)}
        wanted = sorted(named - self._versions.keys())
        for key, document in (await self._registry.version_documents(wanted)).items():
            self._versions[key] = msgspec.json.decode(document, type=Version)

    async def _apply(self, states: Mapping[str, ModelState], revision: int) -> None:
        """Builds and connects the entries, then swaps the table in one assignment."""
        entries: dict[str, Entry] = {}
        for model, found in states.items():
            before = self.table.entries.get(model)
            state = self._not_older(found, before)
            entry = self._entry(state)
            unreachable = await self._upstreams.prepare(entry)
            why = not_ready(before, entry) or unreachable
            # The first table is taken as it is; later a change of route waits for its targets.
            if why is not None and self.synced and before is not None and _newer(entry, before):
                self._refused[model] = (entry.route.epoch, why)
                log.warning("route_refused", model=model, epoch=entry.route.epoch, reason=why)
                continue
            self._refused.pop(model, None)
            self._states[model] = state
            entries[model] = entry
        self.table = self.table.with_entries(revision, entries)
        self._upstreams.retain(self.table, list(entries))
        if self._save_at is None:
            self._save_at = max(clock(), self._saved_at + SAVE_EVERY)

    def _not_older(self, state: ModelState, before: Entry | None) -> ModelState:
        """A Redis that lost a route (flushed, restored from an older snapshot) does not take it from callers."""
        epoch = state.route.epoch if state.route is not None else 0
        if before is None or before.route.epoch <= epoch:
            return state
        log.error("route_regressed", model=state.model, stored=epoch, known=before.route.epoch)
        self.regressed = True
        return msgspec.structs.replace(state, route=before.route)

    def _entry(self, state: ModelState) -> Entry:
        versions = {
            name: self._versions[state.model, name]
            for name in _named(state)
            if (state.model, name) in self._versions
        }
        return build(state, versions, self._known.get(state.model, frozenset()))

    def _lease(self) -> RouterLease:
        return RouterLease(
            id=self._me.id,
            node=self._me.node,
            pid=self._me.pid,
            revision=self._read,
            highest=self._read,
            state="draining" if self.draining else "serving",
            refused={model: why for model, (_, why) in self._refused.items()},
            lease_ms=self._me.lease_ms,
        )

    # -- without Redis -------------------------------------------------------------------------------------

    async def _start_from_file(self) -> None:
        snapshot = await asyncio.to_thread(load, self._last_good)
        if snapshot is None:
            return
        known: dict[str, set[str]] = {}
        for version in snapshot.versions:
            self._versions[version.model, version.version] = version
            known.setdefault(version.model, set()).add(version.version)
        self._known = {model: frozenset(names) for model, names in known.items()}
        # The replicas of then are gone; the agent's file names those of now.
        states = {state.model: msgspec.structs.replace(state, replicas=()) for state in snapshot.models}
        await self._apply(states, snapshot.revision)
        self._read = snapshot.revision
        self.synced = True
        log.warning("started_from_last_good_table", revision=snapshot.revision, models=len(states))
        await self._follow_local()

    async def _follow_local(self) -> None:
        """While Redis is away: the replicas of this host as the agent sees them."""
        try:
            mtime = self._local.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if mtime == self._local_mtime:
            return
        replicas = await asyncio.to_thread(local_replicas, self._local)
        if replicas is None:
            return
        self._local_mtime = mtime
        mine: dict[str, list[Replica]] = {}
        for replica in replicas:
            mine.setdefault(replica.model, []).append(replica)
        changed = {}
        for model, state in self._states.items():
            others = [replica for replica in state.replicas if replica.node != self._me.node]
            now = (*others, *mine.get(model, ()))
            if now != state.replicas:
                changed[model] = msgspec.structs.replace(state, replicas=now)
        if changed:
            await self._apply(changed, self.table.revision)

    # -- background ----------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            self.freshness.tick(clock())
            await asyncio.sleep(TICK)
            if self._save_at is not None and clock() >= self._save_at:
                await self._save()

    async def _save(self) -> None:
        self._save_at, self._saved_at = None, clock()
        versions = tuple(self._versions.values())
        snapshot = Snapshot(revision=self._read, models=tuple(self._states.values()), versions=versions)
        try:
            await asyncio.to_thread(save, self._last_good, snapshot)
        except OSError as error:
            log.error("last_good_table_not_written", error=str(error))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._me.poll_ms / 1000 * random.uniform(0.75, 1.25))
            if not await self.confirm():
                await self._follow_local()
            else:
                self._local_mtime = 0

    async def _listen(self) -> None:
        """Hints only save time: a lost one costs a poll interval, never a change."""
        pause = 0.05
        while True:
            pubsub = self._registry.redis.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(keys.HINT)
                self._hint()
                pause = 0.05
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5.0)
                    if message is not None and int(message["data"]) > self._read:
                        self._hint()
            except (RedisError, OSError, TimeoutError) as error:
                log.info("hint_connection_lost", error=str(error) or type(error).__name__)
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, 1.0)
            finally:
                await pubsub.aclose()


def _newer(entry: Entry, before: Entry) -> bool:
    return entry.route.epoch > before.route.epoch


def _named(state: ModelState) -> set[str]:
    """The versions of a model whose documents a table needs."""
    route = state.route.targets() if state.route is not None else frozenset[str]()
    return {*state.desired, *(replica.version for replica in state.replicas), *route}
