"""Keeps on this host the replicas that the registry asks for; the only one that starts and stops them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from router.agent.adoption import adopt
from router.agent.desire import Desire
from router.agent.follow import AWAY, Follow, News
from router.agent.logs import bound_replica_logs
from router.agent.place import Place
from router.agent.plan import Health, Key, Tries, plan
from router.agent.replica_process import LoadFailed, new_id
from router.agent.roster import Roster
from router.agent.running import Running, failed
from router.agent.runtime import start
from router.clock import rfc3339
from router.halt import halt
from router.registry.registry import Registry
from router.settings import Settings

ASK_REGISTRY_S = 3.0  # then what was last asked for counts
CHECK_EVERY_S = 10.0
CHECK_TIMEOUT_S = 2.0
ACKNOWLEDGED_S = 5.0
DRAIN_S = 30.0
STOP_S = 5.0  # of all replicas when the agent itself is stopped: no router sends anything any more
FORGET_S = 1.5

_log = structlog.get_logger()


class Agent:
    """One agent a host; `life_fd` is the pipe that its replicas inherit from `up`."""

    def __init__(
        self,
        settings: Settings,
        place: Place,
        node: str,
        registry: Registry,
        life_fd: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._place = place
        self._node = node
        self._registry = registry
        self._life_fd = life_fd
        self._clock = clock
        self._roster = Roster(place, registry, node)
        self._desire = Desire(place.desired, registry)
        self._follow = Follow(registry, settings.poll_ms / 1000, self._hear)
        self._running: dict[str, Running] = {}
        self._tries: dict[Key, Tries] = {}
        self._wake = asyncio.Event()
        self._told = asyncio.Event()
        self._stopping = asyncio.Event()
        self._group: asyncio.TaskGroup  # while `_work` runs
        self._tasks: set[asyncio.Task[None]] = set()  # the group's

    def stop(self) -> None:
        """Ends all replicas, then `run`."""
        self._stopping.set()

    def kill_all(self) -> None:
        """`up` is gone: ends replicas also where they are stopped and cannot see it. Safe on any thread."""
        for replica in list(self._running.values()):
            replica.process.kill()

    async def run(self) -> None:
        """Until `stop`. An exception leaves the replicas running, for the next agent to adopt."""
        work = asyncio.ensure_future(self._work())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            await halt(lambda: {work, stopping, *self._tasks})
        await self._end_all()

    async def _work(self) -> None:
        adopted = adopt(self._place, self._clock(), rfc3339(time.time()))
        for replica, told in adopted:
            self._running[replica.id] = replica
            self._roster.put(told or replica.document(self._node, "starting"))
            _log.info("replica_adopted", replica=replica.id, pid=replica.process.process.pid)
        async with asyncio.TaskGroup() as self._group:
            for task in (self._follow.run(), self._roster.publish(), self._first_wish(), self._steer()):
                self._spawn(task)
            self._spawn(self._bound_logs())
            for replica, _ in adopted:
                self._spawn(self._attend(replica))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what is asked for ---------------------------------------------------------------------------------

    async def _first_wish(self) -> None:
        try:
            await asyncio.wait_for(self._told.wait(), ASK_REGISTRY_S)
        except TimeoutError:
            if self._desire.wanted is None and self._desire.recall():
                _log.warning("started_from_file", versions=len(self._desire.wanted or ()))
                self._wake.set()

    async def _hear(self, news: News) -> None:
        for key in await self._desire.take(news):
            self._ask_again(key)
        self._told.set()
        for taken in self._roster.compare(news):
            self._ask_again((taken.model, taken.version))
        self._wake.set()

    def _ask_again(self, key: Key) -> None:
        self._tries.pop(key, None)
        self._forget_failed(key)

    def _forget_failed(self, key: Key) -> None:
        for replica in self._roster.all():
            if replica.state == "failed" and (replica.model, replica.version) == key:
                self._roster.drop(replica.id)

    # -- steps ---------------------------------------------------------------------------------------------

    async def _steer(self) -> None:
        while True:
            self._wake.clear()
            wake = None
            if self._desire.wanted is not None:
                units = [each.unit() for each in self._running.values()]
                steps = plan(self._desire.wanted, units, self._tries, self._clock())
                for key in steps.start:
                    self._start(key)
                for replica_id in steps.retire:
                    self._spawn(self._retire(self._running[replica_id]))
                wake = steps.wake
            try:
                await asyncio.wait_for(self._wake.wait(), None if wake is None else wake - self._clock())
            except TimeoutError:
                continue

    def _start(self, key: Key) -> None:
        document = self._desire.document(key)
        replica_id = new_id(key)
        self._roster.expect(replica_id)
        try:
            process = start(replica_id, document, self._place, self._life_fd, self._settings)
        except OSError as error:
            self._roster.drop(replica_id)
            self._failed_load(key, replica_id, document["digest"], f"it cannot be started: {error}")
            return
        now = rfc3339(time.time())
        replica = Running(replica_id, key, document["digest"], process, "starting", self._clock(), now)
        self._running[replica_id] = replica
        self._roster.put(replica.document(self._node, "starting"))
        _log.info("replica_started", replica=replica_id, pid=process.process.pid)
        self._spawn(self._attend(replica))

    async def _attend(self, replica: Running) -> None:
        """From its start, or its adoption, to its end."""
        if replica.leaving():
            await self._finish(replica)
            return
        if replica.phase == "starting" and not await self._load(replica):
            return
        health = Health()
        began = self._clock()
        replica.process.cpu_seconds()
        while not await replica.process.process.wait(CHECK_EVERY_S):
            if replica.leaving():
                continue  # `_retire` sees to its end
            answered = await replica.process.answers(CHECK_TIMEOUT_S)
            used, elapsed = replica.process.cpu_seconds(), max(self._clock() - began, 0.001)
            health, began = health.after(answered, used / elapsed), self._clock()
            if health.lost:
                _log.error("replica_hangs", replica=replica.id)
                replica.process.kill()
        if not replica.leaving():
            await self._crashed(replica)

    async def _load(self, replica: Running) -> bool:
        try:
            await replica.process.until_ready(self._settings.replica_start_timeout_s)
        except LoadFailed as error:
            if replica.leaving():  # taken back while it loaded
                return False
            await self._remove(replica, grace=0)
            self._failed_load(replica.key, replica.id, replica.digest, str(error), final=error.final)
            return False
        self._tries[replica.key] = self._tries.get(replica.key, Tries()).after_load()
        if replica.phase == "starting":
            replica.phase = "ready"
            self._forget_failed(replica.key)
            self._roster.put(replica.document(self._node, "ready"))
            took = round(self._clock() - replica.began, 3)
            _log.info("replica_ready", replica=replica.id, seconds=took)
        self._wake.set()
        return True

    def _failed_load(
        self, key: Key, replica_id: str, digest: str, error: str, *, final: bool = False
    ) -> None:
        tries = self._tries.get(key, Tries()).after_failed_load(self._clock(), final=final)
        self._tries[key] = tries
        _log.error("replica_failed", replica=replica_id, error=error, tries=tries.loads_failed)
        if tries.given_up:
            self._forget_failed(key)
            self._roster.put(failed(replica_id, key, digest, self._node, rfc3339(time.time()), error))
        self._wake.set()

    async def _crashed(self, replica: Running) -> None:
        lived = self._clock() - replica.began
        status = replica.process.process.exited.result()
        _log.error("replica_crashed", replica=replica.id, status=status, lived=round(lived, 1))
        await self._remove(replica, grace=0)
        tries = self._tries.get(replica.key, Tries())
        self._tries[replica.key] = tries.after_crash(self._clock(), lived)
        self._wake.set()

    async def _retire(self, replica: Running) -> None:
        """Ends a replica without breaking a request: first nobody sends to it, then it finishes, then it goes."""
        was, replica.phase = replica.phase, "draining"
        try:
            if was == "ready":
                revision = await self._roster.announce(replica.document(self._node, "draining"))
                await self._acknowledged(revision)
        except AWAY as error:
            _log.warning("retire_waits", replica=replica.id, error=str(error))
            if replica.process.process.running:
                self._roster.put(replica.document(self._node, "ready"))
                await replica.process.process.wait(1.0)
            replica.phase = was
            self._wake.set()
            if replica.process.process.running:
                return
        await self._finish(replica)

    async def _finish(self, replica: Running) -> None:
        await self._remove(replica, grace=DRAIN_S)
        _log.info("replica_stopped", replica=replica.id)
        self._wake.set()

    async def _remove(self, replica: Running, grace: float) -> None:
        await replica.process.end(grace)
        self._running.pop(replica.id, None)
        self._roster.drop(replica.id)

    async def _acknowledged(self, revision: int) -> None:
        """Returns when every router that is heard of has `revision`, after 5 s at the latest."""
        deadline = self._clock() + ACKNOWLEDGED_S
        while self._clock() < deadline:
            now, leases = await self._registry.routers()
            if all(lease.revision >= revision or lease.lapsed(now) for lease in leases):
                return
            await asyncio.sleep(0.02)
        _log.warning("not_acknowledged", revision=revision)

    # -- the rest ------------------------------------------------------------------------------------------

    async def _end_all(self) -> None:
        """`up` stops us: no router sends anything any more."""
        await asyncio.gather(*(each.process.end(STOP_S) for each in self._running.values()))
        for replica in self._roster.all():
            self._roster.drop(replica.id)
        try:
            async with asyncio.timeout(FORGET_S):
                await self._roster.flush()
        except AWAY as error:  # the next agent of this node takes out what it does not run
            _log.warning("replicas_stay_listed", error=str(error))

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            bound_replica_logs(self._place.logs, [each.process.log for each in self._running.values()])
