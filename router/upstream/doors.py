"""Streamed exchanges by replica: least in flight first, kept-alive connections while they are surely open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeVar

import structlog

from router.documents import Replica
from router.errors import Unavailable
from router.route.table import Target
from router.upstream.pipe import Pipe, open_pipe
from router.upstream.stream import Stream, open_stream
from router.upstream.work import Attempt

Connection = TypeVar("Connection")

log = structlog.get_logger(__name__)

# BentoML closes idle connections after 5 s; a POST on one that is just closing could not be repeated.
IDLE_S = 2.0
IDLE_KEPT = 128


class Door:
    """One replica: how many exchanges are under way, and connections that wait for the next."""

    def __init__(self, model: str, address: str) -> None:
        self.model = model
        self.address = address
        self.busy = 0
        self._closed = False
        self._idle: list[Stream] = []

    def take(self) -> Stream | None:
        """A connection that is open and was used a moment ago."""
        while self._idle:
            stream = self._idle.pop()
            if stream.reusable and monotonic() - stream.idle_since < IDLE_S:
                return stream
            stream.close()
        return None

    def give(self, stream: Stream) -> None:
        """Back after an exchange: kept where it ended cleanly, closed otherwise."""
        if stream.reusable and not self._closed and len(self._idle) < IDLE_KEPT:
            self._idle.append(stream)
        else:
            stream.close()

    def release(self, stream: Stream) -> None:
        """The exchange on `stream` is over."""
        self.busy -= 1
        self.give(stream)

    def close(self) -> None:
        """Closes what is idle; what comes back later is closed too."""
        self._closed = True
        for stream in self._idle:
            stream.close()
        self._idle.clear()


class Doors:
    """The streamed side of the upstream."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}

    @asynccontextmanager
    async def stream(
        self, target: Target, wanted: str | None, attempts: list[Attempt]
    ) -> AsyncIterator[tuple[Replica, Stream]]:
        """A connection to a replica of `target` (to `wanted` and no other, if given), nothing sent yet.

        A replica that cannot be connected is noted in `attempts` and another one tried. Raises Unavailable
        `not_ready` where none can, `replica_gone` where the wanted one does not run any more.
        """
        replica, door, stream = await self._open(target, wanted, attempts, _stream)
        door.busy += 1
        try:
            yield replica, stream
        finally:
            door.release(stream)

    def at_hand(self, target: Target) -> tuple[Replica, Door, Stream] | None:
        """The same without waiting, to be given back by `Door.release`; None where one would have to be made."""
        found = None
        for replica in target.replicas:
            door = self._door(replica)
            if found is None or door.busy < found[1].busy:
                found = replica, door
        if found is None:
            return None
        replica, door = found
        stream = door.take()
        if stream is None:
            return None
        door.busy += 1
        return replica, door, stream

    @asynccontextmanager
    async def pipe(self, target: Target, attempts: list[Attempt]) -> AsyncIterator[tuple[Replica, Pipe]]:
        """A raw connection to a replica of `target`, closed at the end; errors as for `stream`."""
        replica, door, pipe = await self._open(target, None, attempts, _pipe)
        door.busy += 1
        try:
            yield replica, pipe
        finally:
            door.busy -= 1
            pipe.close()

    async def _open(
        self,
        target: Target,
        wanted: str | None,
        attempts: list[Attempt],
        connect: Callable[[Door], Awaitable[Connection]],
    ) -> tuple[Replica, Door, Connection]:
        version = target.version
        candidates = sorted(target.replicas, key=lambda replica: self._door(replica).busy)
        if wanted is not None:
            candidates = [replica for replica in candidates if replica.id == wanted]
            if not candidates:
                raise Unavailable(
                    f"the replica of version {version.version} of model {version.model} that took this is gone",
                    code="replica_gone",
                )
        for replica in candidates:
            door = self._door(replica)
            try:
                return replica, door, await connect(door)
            except (OSError, TimeoutError) as error:
                told = str(error) or "time-out"
                log.warning("replica_unreachable", replica=replica.id, error=told)
                attempts.append(Attempt(version.version, replica.id, 503, "unreachable", 0.0))
        raise Unavailable(
            f"version {version.version} of model {version.model} has no ready replica", code="not_ready"
        )

    def retain(self, models: set[str], replicas: set[str]) -> None:
        """Closes the idle connections of those replicas of `models` that are no longer known."""
        for name in [name for name, door in self._doors.items() if door.model in models]:
            if name not in replicas:
                self._doors.pop(name).close()

    def close(self) -> None:
        """Closes everything idle."""
        for door in self._doors.values():
            door.close()
        self._doors.clear()

    def _door(self, replica: Replica) -> Door:
        door = self._doors.get(replica.id)
        if door is None or door.address != replica.address:
            if door is not None:
                door.close()
            door = self._doors[replica.id] = Door(replica.model, replica.address)
        return door


async def _stream(door: Door) -> Stream:
    return door.take() or await open_stream(door.address)


async def _pipe(door: Door) -> Pipe:
    return await open_pipe(door.address)
