"""Watches one replica from its start: probes, memory; says what is wrong with it, does nothing about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from router.agent.health import AT_ONCE, Care, Health, Look, condition, too_large
from router.agent.replica_process import LoadFailed, ReplicaProcess
from router.agent.vitals import Vitals
from router.halt import halt

SHARE = 50
"""A probe that runs the model is followed by a pause of so many times what it took."""

LATE = 2.0
"""A look that took so many times its time-out says that this process stood still, not the replica."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a replica has to go; `gently`: it still answers, so another may be started first."""

    kind: Literal["hung", "memory"]
    text: str
    gently: bool = False


class Pulse:
    """`leaving` says whether the replica is on its way out: then only its end is waited for."""

    def __init__(
        self,
        process: ReplicaProcess,
        care: Care,
        leaving: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._process = process
        self._care = care
        self._leaving = leaving
        self._clock = clock
        self._health = Health()
        self._seen: Vitals | None = None
        self._looked = clock()
        self._seen_at = clock()
        self._deep: asyncio.Task[tuple[bool, float]] | None = None
        self._deep_began = 0.0
        self._deep_due = clock() + care.deep_s
        self._deep_failed = False
        self._told_of_memory = False

    def close(self) -> None:
        """Ends the probe that may be under way."""
        if self._deep is not None:
            self._deep.cancel()

    async def loaded(self, timeout: float) -> None:
        """Returns when the replica is warm and within its memory; raises LoadFailed."""
        loading = asyncio.ensure_future(self._process.until_ready(timeout))
        weighing = asyncio.ensure_future(self._outgrown())
        try:
            await asyncio.wait({loading, weighing}, return_when=asyncio.FIRST_COMPLETED)
            if (why := self._weight()) is not None:
                raise LoadFailed(why)
            await loading
        finally:
            await halt([loading, weighing])

    async def trouble(self) -> Trouble | None:
        """The next trouble with a warm replica; None once it has ended. May be asked again."""
        while not await self._process.process.wait(self._pause()):
            if self._leaving():
                self._looked = self._clock()
                continue
            if (found := await self._look()) is not None:
                return found
        return None

    def _pause(self) -> float:
        return max(0.0, self._looked + self._care.every_s - self._clock())

    async def _outgrown(self) -> None:
        """Returns once the replica is over its memory limit, or has ended."""
        while self._weight() is None and not await self._process.process.wait(self._care.every_s):
            pass

    def _weight(self) -> str | None:
        seen = self._process.vitals() if self._care.memory_bytes else None
        return None if seen is None else too_large(seen.rss, self._care.memory_bytes)

    async def _look(self) -> Trouble | None:
        self._looked = began = self._clock()
        answered = await self._process.answers(self._care.every_s)
        now = self._clock()
        known, self._seen = self._seen, self._process.vitals()
        if self._seen is None:
            return None  # it has just ended
        if now - began > LATE * self._care.every_s:
            _log.warning("agent_stood_still", seconds=round(now - began, 2))
            return None
        late = self._model_is_late(now)
        passed, self._seen_at = max(now - self._seen_at, 0.001), now
        share = 1.0 if known is None else (self._seen.cpu_s - known.cpu_s) / passed
        well = answered and not late
        working = not well and self._process.working()
        state = condition(stopped=self._seen.stopped, working=working, cpu_share=share)
        self._health = self._health.after(Look(well, state, passed))
        if (why := self._health.lost(self._care)) is not None:
            self._health = Health()  # a killed one may take a moment to end
            return Trouble("hung", why)
        return self._too_large(self._seen.rss)

    def _too_large(self, rss: int) -> Trouble | None:
        limit = self._care.memory_bytes
        why = too_large(rss, limit)
        at_once = rss > limit * AT_ONCE
        if why is None or (self._told_of_memory and not at_once):
            return None
        self._told_of_memory = True
        return Trouble("memory", why, gently=not at_once)

    def _model_is_late(self, now: float) -> bool:
        """Whether the probe that runs the model is out for too long, or failed. One is out at a time."""
        if self._deep is None:
            if now >= self._deep_due or self._deep_failed:
                self._deep_began = now
                self._deep = asyncio.ensure_future(self._run_model())
            return self._deep_failed
        if not self._deep.done():
            return self._deep_failed or now - self._deep_began >= self._care.every_s
        worked, took = self._deep.result()
        self._deep, self._deep_failed = None, not worked
        self._deep_due = now + max(self._care.deep_s, SHARE * took)
        return self._deep_failed

    async def _run_model(self) -> tuple[bool, float]:
        began = self._clock()
        return await self._process.works(self._care.busy_s), self._clock() - began
