"""Exchanges that are passed through, by replica: who is in turn and least busy gets the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import random
from time import monotonic
from typing import TypeVar

import structlog

from router.documents import Replica
from router.errors import DeadlineExceeded, Unavailable, UpstreamFailed
from router.route.table import Target
from router.upstream.budget import BudgetRules
from router.upstream.door import Door
from router.upstream.gate import Gate, Key
from router.upstream.health import HealthRules
from router.upstream.pipe import Pipe, open_pipe
from router.upstream.probing import trial
from router.upstream.stream import Stream, open_stream
from router.upstream.tally import Tally
from router.upstream.work import Attempt

Connection = TypeVar("Connection", Stream, Pipe)

log = structlog.get_logger(__name__)


class Doors:
    """The pass-through side of the upstream. `expire` is to be called some twenty times a second."""

    def __init__(
        self,
        most: int = 1024,
        health: HealthRules | None = None,
        budget: BudgetRules | None = None,
        tallies: dict[Key, Tally] | None = None,
        chance: Callable[[], float] = random,
    ) -> None:
        """`most`: exchanges at once with one replica; `tallies` by model and version are added to."""
        self._rules = most, health or HealthRules(), budget or BudgetRules()
        self._tallies = {} if tallies is None else tallies
        self._chance = chance
        self._gates: dict[Key, Gate] = {}
        self._trials: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def stream(
        self, target: Target, wanted: str | None, attempts: list[Attempt], avoid: Door | None = None
    ) -> AsyncIterator[tuple[Door, Stream]]:
        """A connection to a replica of `target` (to `wanted` and no other, if given), nothing sent yet.

        A replica that cannot be connected is noted in `attempts` and another one tried; `avoid` failed this
        request. Raises Unavailable: `not_ready` where none can be connected, `overloaded` where those that can
        take no more, `replica_gone` where the wanted one does not run any more.
        """
        door, stream = await self._open(target, wanted, attempts, _stream, avoid)
        try:
            yield door, stream
        finally:
            door.release(stream)

    def at_hand(self, target: Target, now: float) -> tuple[Door, Stream] | None:
        """The same without waiting, to be given back by `Door.release`; None where one would have to be made."""
        gate = self._gate(target)
        found = None
        for door in gate.row(target):
            if door.health.out or now < door.health.full_at or now < door.retry_at:
                found = gate.pick(gate.row(target), now)
                break
            if door.busy + 1 <= door.window.size and (
                found is None
                or door.busy < found.busy
                or (door.busy == found.busy and door.sent_at < found.sent_at)
            ):
                found = door
        stream = None if found is None else found.take()
        if found is None or stream is None:
            return None
        gate.judgement.budget.earn(1)
        found.begin(now)
        return found, stream

    @asynccontextmanager
    async def pipe(self, target: Target, attempts: list[Attempt]) -> AsyncIterator[tuple[Replica, Pipe]]:
        """A raw connection to a replica of `target`, closed at the end; errors as for `stream`."""
        door, pipe = await self._open(target, None, attempts, _pipe, None, tunnel=True)
        began = monotonic()
        try:
            yield door.replica, pipe
        except UpstreamFailed:
            door.broke(monotonic())
            raise
        except DeadlineExceeded:
            door.late(monotonic() - began, monotonic())
            raise
        finally:
            door.tunnels -= 1
            door.left()
            pipe.close()

    def may_repeat(self, target: Target, failed: Door, now: float) -> bool:
        """Whether a request that `failed` broke may be sent once more, to another; it is paid for."""
        gate = self._gate(target)
        others = any(door is not failed and door.in_turn(now) for door in gate.row(target))
        return others and gate.judgement.may_repeat(1, now)

    async def _open(
        self,
        target: Target,
        wanted: str | None,
        attempts: list[Attempt],
        connect: Callable[[Door], Awaitable[Connection]],
        avoid: Door | None,
        tunnel: bool = False,
    ) -> tuple[Door, Connection]:
        gate, version = self._gate(target), target.version
        row, tried = gate.row(target), list[Door]()
        if wanted is not None:
            row = [door for door in row if door.replica.id == wanted]
            if not row:
                raise Unavailable(
                    f"the replica of version {version.version} of model {version.model} that took this is gone",
                    code="replica_gone",
                )
        if avoid is None:
            gate.judgement.budget.earn(1)
        while (door := gate.pick(row, monotonic(), avoid, tunnel, tuple(tried))) is not None:
            connection = await self._connected(door, connect, attempts, tunnel)
            if connection is not None:
                return door, connection
            tried.append(door)
        if len(tried) < len(row):
            gate.judgement.tally.crowded += 1
            raise Unavailable(
                f"the replicas of version {version.version} of model {version.model} take no more requests",
                code="overloaded",
            )
        raise Unavailable(
            f"version {version.version} of model {version.model} has no ready replica", code="not_ready"
        )

    async def _connected(
        self,
        door: Door,
        connect: Callable[[Door], Awaitable[Connection]],
        attempts: list[Attempt],
        tunnel: bool,
    ) -> Connection | None:
        """A connection whose place is taken, also while it is being made."""
        trial, made = door.health.out, None
        if tunnel:
            door.tunnels += 1
        else:
            door.begin(monotonic())
        try:
            made = await connect(door)
        except (OSError, TimeoutError) as error:
            told = str(error) or "time-out"
            log.warning("replica_unreachable", replica=door.replica.id, error=told)
            attempts.append(Attempt(door.replica.version, door.replica.id, 503, "unreachable", 0.0))
            door.rest(monotonic())
        finally:
            if made is None:
                if tunnel:
                    door.tunnels -= 1
                else:
                    door.busy -= 1
                if trial:
                    door.left()
        return made

    def gauges(self) -> dict[Key, tuple[int, int, int]]:
        """Exchanges and tunnels under way, those that could be, and replicas out of turn, by model and version."""
        found = {}
        for key, gate in self._gates.items():
            doors = gate.doors.values()
            busy = sum(door.busy + door.tunnels for door in doors)
            found[key] = (
                busy,
                sum(int(door.window.size) for door in doors),
                sum(door.health.out for door in doors),
            )
        return found

    def expire(self, now: float) -> None:
        """Tries replicas whose time out of turn is over."""
        for gate in self._gates.values():
            for door in gate.doors.values():
                if door.health.due(now):
                    door.health.attempt()
                    task = asyncio.get_running_loop().create_task(trial(door, gate.judgement))
                    self._trials.add(task)
                    task.add_done_callback(self._trials.discard)

    def retain(self, models: set[str], replicas: set[str]) -> None:
        """Closes the idle connections of those replicas of `models` that are no longer known."""
        for key in [key for key in self._gates if key[0] in models]:
            self._gates[key].forget(replicas)
            if not self._gates[key].doors:
                del self._gates[key]

    def close(self) -> None:
        """Closes everything idle and ends trials."""
        for task in self._trials:
            task.cancel()
        for gate in self._gates.values():
            gate.forget(set())
        self._gates.clear()

    def _gate(self, target: Target) -> Gate:
        version = target.version
        key = version.model, version.version
        gate = self._gates.get(key)
        if gate is None:
            tally = self._tallies.setdefault(key, Tally())
            gate = self._gates[key] = Gate(*self._rules, tally, self._chance)
        return gate


async def _stream(door: Door) -> Stream:
    stream = door.take()
    if stream is None:
        stream = await open_stream(door.replica.address)
        door.connected()
    return stream


async def _pipe(door: Door) -> Pipe:
    pipe = await open_pipe(door.replica.address)
    door.connected()
    return pipe
