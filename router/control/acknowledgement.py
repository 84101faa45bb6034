"""Waits until every known router has acknowledged a revision, or says who has not and why; changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.exceptions import RedisError

from router.control.away import LOST
from router.documents import RouterLease
from router.registry import keys
from router.registry.registry import Registry

TICK_S = 0.05  # the net under the hints: how often leases are read while somebody is awaited
SILENCE_S = 30.0  # a subscription this long without a word is opened anew: a dead connection says nothing
BACKOFF_S = (0.05, 1.0)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the known routers stand to a revision. `awaited`: live ones that may still acknowledge it."""

    known: int = 0
    acknowledged: int = 0
    awaited: frozenset[str] = frozenset()
    laggards: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every known router has acknowledged."""
        return not self.laggards

    def document(self) -> dict[str, Any]:
        """As the answer to a change has it."""
        laggards = [{"id": name, "reason": reason} for name, reason in self.laggards]
        return {"acknowledged": self.acknowledged, "known": self.known, "laggards": laggards}


def judge(model: str, revision: int, now_ms: int, leases: Iterable[RouterLease]) -> Verdict:
    """Who has taken the route that `model` got at `revision`, at Redis' time `now_ms`; pure.

    A refusing router is a laggard with its own reason, and awaited: what it lacks may come. One whose lease
    has lapsed is a laggard and not awaited: it is unknown, not gone.
    """
    known = acknowledged = 0
    awaited, laggards = set(), []
    for lease in leases:
        known += 1
        if lease.took(model, revision):
            acknowledged += 1
            continue
        lapsed = lease.lapsed(now_ms)
        laggards.append((lease.id, _reason(lease, model, revision, now_ms, lapsed)))
        if not lapsed:
            awaited.add(lease.id)
    return Verdict(known, acknowledged, frozenset(awaited), tuple(laggards))


def _reason(lease: RouterLease, model: str, revision: int, now_ms: int, lapsed: bool) -> str:
    if lapsed:
        return f"unknown: last heard {(now_ms - lease.seen) / 1000:.1f} s ago, at revision {lease.revision}"
    if model in lease.refused:
        return f"refused: {lease.refused[model]}"
    if lease.highest >= revision:
        return f"has seen revision {lease.highest}: Redis fell back to an older state; repeat the change"
    return f"still at revision {lease.revision}, not yet at {revision}"


@dataclass(eq=False, slots=True)
class _Waiter:
    revision: int
    heard: set[str] = field(default_factory=set)
    event: asyncio.Event = field(default_factory=asyncio.Event)


class Acknowledgements:
    """One subscription for the whole process; any number of changes wait on it."""

    def __init__(self, registry: Registry, timeout_s: float) -> None:
        self.subscribed = asyncio.Event()
        self._registry = registry
        self._timeout_s = timeout_s
        self._waiters: set[_Waiter] = set()

    async def wait(self, model: str, revision: int) -> Verdict:
        """The last verdict: complete, or nobody left to wait for, or the time was over.

        Where Redis goes away meanwhile the verdict is the last that could be had, never a complete one.
        """
        verdict = Verdict(laggards=(("*", "Redis stopped answering after the change was stored"),))
        waiter = _Waiter(revision)
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    waiter.heard.clear()
                    try:
                        now, leases = await self._registry.routers()
                    except LOST:
                        await asyncio.sleep(TICK_S)
                        continue
                    verdict = judge(model, revision, now, leases)
                    if not verdict.awaited:
                        return verdict
                    await self._tick(waiter, verdict.awaited)
        except TimeoutError:
            return verdict
        finally:
            self._waiters.discard(waiter)

    async def _tick(self, waiter: _Waiter, awaited: frozenset[str]) -> None:
        """Until all that are awaited were heard, or the next look is due."""
        try:
            async with asyncio.timeout(TICK_S):
                while not awaited <= waiter.heard:
                    waiter.event.clear()
                    await waiter.event.wait()
        except TimeoutError:
            return  # the hint may be lost: look

    async def listen(self) -> None:
        """Keeps the subscription open until cancelled; between two of them the look each tick is enough."""
        pause = BACKOFF_S[0]
        while True:
            try:
                async with self._registry.redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(keys.ACKS)
                    self.subscribed.set()
                    pause = BACKOFF_S[0]
                    await self._follow(channel)
            except (RedisError, OSError) as error:
                log.warning("acknowledgements_interrupted", error=str(error))
            self.subscribed.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_S[1])

    async def _follow(self, channel: Any) -> None:
        """Hands on what is heard; returns after a long silence."""
        silent_since = time.monotonic()
        while time.monotonic() - silent_since < SILENCE_S:
            message = await channel.get_message(timeout=1.0)
            if message is not None:
                silent_since = time.monotonic()
                self._note(message["data"])

    def _note(self, data: bytes) -> None:
        """`router-id revision`: wakes those who wait for that revision or a lower one."""
        name, _, number = data.decode("utf-8", "replace").partition(" ")
        if not number.isdigit():
            return
        for waiter in self._waiters:
            if waiter.revision <= int(number):
                waiter.heard.add(name)
                waiter.event.set()
