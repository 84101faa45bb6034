"""Keeps on this host the replicas that the registry asks for; the only one that starts and stops them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from router.agent.adoption import adopt
from router.agent.attempts import Attempts
from router.agent.desire import Desire
from router.agent.farewell import Farewell
from router.agent.follow import AWAY, Follow, News
from router.agent.intercom import listening
from router.agent.logs import bound_replica_logs
from router.agent.losses import FILE, Loss, Losses
from router.agent.place import Place
from router.agent.plan import Key, plan
from router.agent.pulse import Pulse, Trouble
from router.agent.replacement import Replacements
from router.agent.replica_process import LoadFailed, last_lines, new_id
from router.agent.roster import Roster
from router.agent.running import Running
from router.agent.runtime import start
from router.clock import rfc3339
from router.halt import halt
from router.registry.registry import Registry
from router.settings import Settings

ASK_REGISTRY_S = 3.0  # then what was last asked for counts
LOGS_EVERY_S = 10.0
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
        self._attempts = Attempts(self._roster, Losses(place.runtime_dir / FILE), node, clock)
        self._wake = asyncio.Event()
        self._told = asyncio.Event()
        self._stopping = asyncio.Event()
        self._leaving = False
        self._farewell = Farewell(registry, self._roster, node, self._gone, self._wake.set, clock)
        self._replacements = Replacements(
            settings,
            self._running,
            ask_again=self._attempts.ask_again,
            mark=self._mark,
            given_up=self._attempts.given_up,
        )
        self._group: asyncio.TaskGroup  # while `_work` runs
        self._tasks: set[asyncio.Task[None]] = set()  # the group's

    def stop(self) -> None:
        """Ends all replicas, then `run`."""
        self._stopping.set()

    def leave(self) -> None:
        """Ends `run` alone: the next agent adopts the replicas."""
        self._leaving = True
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
        if not self._leaving:
            await self._end_all()

    async def _work(self) -> None:
        adopted = adopt(self._place, self._clock(), rfc3339(time.time()))
        for replica, told in adopted:
            self._running[replica.id] = replica
            self._roster.put(told or replica.document(self._node, "starting"))
            _log.info("replica_adopted", replica=replica.id, pid=replica.process.process.pid)
        talk = listening(self._place.socket("agent"), self._replacements.answer)
        async with talk, asyncio.TaskGroup() as self._group:
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
            self._attempts.ask_again(key)
        self._told.set()
        for taken in self._roster.compare(news):
            self._attempts.ask_again((taken.model, taken.version))
        self._wake.set()

    # -- steps ---------------------------------------------------------------------------------------------

    async def _steer(self) -> None:
        while True:
            self._wake.clear()
            wake = None
            if self._desire.wanted is not None:
                units = [each.unit() for each in self._running.values()]
                steps = plan(self._desire.wanted, units, self._attempts.by_key, self._clock())
                for key in steps.start:
                    self._start(key)
                for replica_id in steps.retire:
                    self._spawn(self._farewell.retire(self._running[replica_id]))
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
            text = f"it cannot be started: {error}"
            self._attempts.failed_load(key, replica_id, document["digest"], text, ())
            self._wake.set()
            return
        replica = Running(
            replica_id,
            key,
            document["digest"],
            process,
            "starting",
            self._clock(),
            rfc3339(time.time()),
            self._attempts.last_loss(key),
        )
        self._running[replica_id] = replica
        self._roster.put(replica.document(self._node, "starting"))
        _log.info("replica_started", replica=replica_id, pid=process.process.pid)
        self._spawn(self._attend(replica))

    async def _attend(self, replica: Running) -> None:
        """From its start, or its adoption, to its end."""
        if replica.leaving():
            await self._farewell.finish(replica)
            return
        pulse = Pulse(replica.process, replica.process.care(self._settings), replica.leaving, self._clock)
        if replica.phase == "starting" and not await self._load(replica, pulse):
            return
        cause: Trouble | None = None
        try:
            while (trouble := await pulse.trouble()) is not None:
                cause = self._troubled(replica, trouble) or cause
        finally:
            pulse.close()
        if not replica.leaving():
            await self._crashed(replica, cause)

    def _troubled(self, replica: Running, trouble: Trouble) -> Trouble | None:
        """Kills the replica, and gives why; or begins to replace one that still answers."""
        if trouble.kind == "memory":
            _log.error(
                "replica_too_large", replica=replica.id, reason=trouble.text, killed=not trouble.gently
            )
        else:
            _log.error("replica_hangs", replica=replica.id, reason=trouble.text)
        if not trouble.gently:
            replica.process.kill()
            return trouble
        self._attempts.lost(replica, trouble.kind, trouble.text)
        self._mark(replica, True)
        return None

    def _mark(self, replica: Running, outgoing: bool) -> None:
        """Outgoing: another one takes its place once that is warm. Not any more: that one is surplus."""
        replica.outgoing = outgoing
        self._wake.set()

    async def _load(self, replica: Running, pulse: Pulse) -> bool:
        try:
            await pulse.loaded(self._settings.replica_start_timeout_s)
        except LoadFailed as error:
            if replica.leaving():  # taken back while it loaded
                return False
            await self._farewell.remove(replica, grace=0)
            lines = last_lines(replica.process.log)
            self._attempts.failed_load(
                replica.key, replica.id, replica.digest, str(error), lines, final=error.final
            )
            self._wake.set()
            return False
        self._attempts.loaded(replica.key)
        if replica.phase == "starting":
            replica.phase = "ready"
            self._roster.put(replica.document(self._node, "ready"))
            took = round(self._clock() - replica.began, 3)
            _log.info("replica_ready", replica=replica.id, seconds=took)
        self._wake.set()
        return True

    async def _crashed(self, replica: Running, cause: Trouble | None) -> None:
        status = replica.process.process.exited.result()
        lived = round(self._clock() - replica.began, 1)
        _log.error("replica_crashed", replica=replica.id, status=status, lived=lived)
        await self._farewell.remove(replica, grace=0)
        reason: Loss = "crashed" if cause is None else cause.kind
        self._attempts.lost(
            replica, reason, f"it ended with status {status}" if cause is None else cause.text
        )
        self._wake.set()

    def _gone(self, replica: Running) -> None:
        self._running.pop(replica.id, None)

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
            await asyncio.sleep(LOGS_EVERY_S)
            bound_replica_logs(self._place.logs, [each.process.log for each in self._running.values()])
