"""The tensor lane of one version: a bounded queue, natural batches, one exchange in flight a replica."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from random import random
from time import monotonic
from typing import Any

from router.documents import Replica
from router.errors import DeadlineExceeded, Unavailable
from router.upstream import batch as batches
from router.upstream.dialect import LEAN, Dialect
from router.upstream.exchange import Exchange
from router.upstream.experience import Experience
from router.upstream.link import LinkFailed, Reply
from router.upstream.probing import trial
from router.upstream.queue import Queue
from router.upstream.rules import LaneLimits
from router.upstream.seat import Seat
from router.upstream.settlement import Settlement
from router.upstream.tally import Tally
from router.upstream.turn import free
from router.upstream.work import Item


class Lane:
    """Requests of one version. An idle replica gets work at once; what comes meanwhile leaves as one batch.

    It has no timer: `expire` is to be called some twenty times a second, also after `close` until it is idle.
    """

    def __init__(
        self,
        model: str,
        version: str,
        limits: LaneLimits,
        dialect: Dialect = LEAN,
        *,
        rowwise: bool = True,
        tally: Tally | None = None,
        chance: Callable[[], float] = random,
    ) -> None:
        self.model = model
        self.version = version
        self.tally = Tally() if tally is None else tally
        self._whose = f"version {version} of model {model}"
        self._dialect = dialect
        self._chance = chance
        # Parts of failed batches, repetitions, copies: sent as they are.
        self._again: deque[Exchange] = deque()
        self._seats: dict[str, Seat] = {}
        self._leaving: set[Seat] = set()  # no longer seated, with an exchange under way
        self._flying = 0  # seats of `_seats` with an exchange
        self._tasks: set[asyncio.Task[None]] = set()
        self._experience = Experience(limits, self.tally, chance, monotonic(), rowwise=rowwise)
        self._queue = Queue(self._whose, limits, self._experience.limit, self.tally, chance, self._in_turn)
        self._settlement = Settlement(
            version, self._whose, dialect, self._experience, self._again, self._in_turn, self._overtaken
        )
        self._closed = False

    @property
    def waiting(self) -> int:
        """Requests that wait for a replica."""
        return len(self._queue.items) + self._beside()

    @property
    def busy(self) -> int:
        """Replicas with an exchange under way."""
        return self._flying + len(self._leaving)

    @property
    def out(self) -> int:
        """Replicas that are ejected."""
        return sum(seat.health.out for seat in self._seats.values())

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not (self._queue.items or self._again or self.busy or self._tasks)

    def seat(self, replicas: tuple[Replica, ...]) -> None:
        """Sets the replicas; those that are gone finish what they have in flight."""
        wanted = {replica.id: replica.address for replica in replicas}
        for name, seat in list(self._seats.items()):
            if wanted.get(name) != seat.replica.address:
                self._retire(self._seats.pop(name))
        now = monotonic()
        for replica in replicas:
            if replica.id not in self._seats:
                health = self._experience.newcomer(now, beside=bool(self._seats))
                self._seats[replica.id] = Seat(replica, health)

    async def warm(self) -> bool:
        """Opens a connection to every replica that has none; whether at least one can be reached."""
        for seat in list(self._seats.values()):
            if seat.exchange is None and not seat.open:
                await seat.connect()
        return any(seat.open for seat in self._seats.values())

    def submit(self, item: Item) -> None:
        """Queues an item, or sends it at once. Raises Unavailable `not_ready` or `overloaded`."""
        if not self._seats:
            raise Unavailable(f"{self._whose} has no ready replica", code="not_ready")
        self._queue.put(item, self._beside() if self._again else 0)
        if self._flying < len(self._seats):
            self._dispatch()

    def expire(self, now: float) -> None:
        """Looks after what waits or flies: deadlines, copies, trials, replicas that are slow."""
        for exchange in list(self._again):
            self._overdue(exchange, now, "a replica was free for the request")
        self._queue.expire(now)
        for seat in (*self._seats.values(), *self._leaving):
            if seat.exchange is not None:
                self._look(seat, seat.exchange, now)
            elif seat.health.due(now):
                seat.health.attempt()
                self._spawn(self._try(seat))
            elif now - seat.rests_since > self._dialect.idle_s:
                seat.cut()
        self._experience.eject_slowest(self._seats.values(), now)
        if self._queue.items and (since := self._experience.stuck(self._seats.values(), now)) is not None:
            self._settlement.tell_overdue(self._queue.before(since), next(iter(self._seats.values())), 0.0)
        self._dispatch()

    def close(self) -> None:
        """Takes no more work; whoever waits gets Unavailable, what is under way may end."""
        for seat in self._seats.values():
            self._retire(seat)
        self._seats.clear()
        self._closed = True
        self._refuse("the version is no longer served")

    def _beside(self) -> int:
        return sum([len(exchange.items) for exchange in self._again])

    def _in_turn(self, but: Seat | None = None) -> int:
        """Replicas in turn, beside one."""
        now = monotonic()
        return sum([seat is not but and seat.in_turn(now) for seat in self._seats.values()])

    # -- dispatch ------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        now, seats = monotonic(), self._seats.values()
        while self._queue.items or self._again:
            first = self._again[0] if self._again else None
            seat = free(seats, now, None if first is None else first.avoid, self._chance)
            if seat is None and first is not None and first.avoid is not None and self._queue.items:
                # What it failed waits for another; the rest it may have.
                first, seat = None, free(seats, now, None, self._chance)
            if seat is None:
                self._refuse_if_dead(now)
                return
            exchange = self._next(first, now)
            if exchange is not None:
                self._occupy(seat, exchange, now)

    def _next(self, first: Exchange | None, now: float) -> Exchange | None:
        if first is not None:
            self._again.popleft()
            return first if first.trim() else None
        items = self._queue.take(now)
        return Exchange(items) if items else None

    def _occupy(self, seat: Seat, exchange: Exchange, now: float) -> None:
        seat.exchange, exchange.seat, seat.sent_at = exchange, seat, now
        exchange.deadline = max([item.deadline for item in exchange.items])
        self._flying += 1
        if seat.open:
            self._send(seat, exchange)
        else:
            self._spawn(self._open_and_send(seat, exchange))

    def _vacate(self, seat: Seat) -> None:
        exchange, seat.exchange = seat.exchange, None
        if exchange is not None:
            exchange.seat = None
        if seat.retired:
            self._leaving.discard(seat)
            seat.cut()
        else:
            self._flying -= 1

    def _retire(self, seat: Seat) -> None:
        seat.retired = True
        if seat.exchange is None:
            seat.cut()
        else:
            self._flying -= 1
            self._leaving.add(seat)

    def _refuse_if_dead(self, now: float) -> None:
        """Where every replica failed to connect a moment ago, waiting would only hide it."""
        if self._closed:
            self._refuse("the version is no longer served")
        elif self._seats and all(
            seat.exchange is None and seat.retry_at > now for seat in self._seats.values()
        ):
            self._refuse("no replica can be reached")

    def _refuse(self, why: str) -> None:
        waiting = [item for exchange in self._again for item in exchange.items]
        self._again.clear()
        waiting += self._queue.clear()
        for item in waiting:
            if not item.abandoned:
                item.future.set_exception(Unavailable(f"{self._whose}: {why}", code="not_ready"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_and_send(self, seat: Seat, exchange: Exchange) -> None:
        opened = await seat.connect()
        if seat.exchange is not exchange:
            return  # given up meanwhile
        if opened:
            self._send(seat, exchange)
            return
        self._vacate(seat)
        self._settlement.unsent(seat, exchange, "unreachable")
        self._dispatch()

    def _send(self, seat: Seat, exchange: Exchange) -> None:
        now = monotonic()
        items = exchange.items
        if seat.health.out:
            seat.health.attempt()
        if not exchange.repeated:
            self._experience.budget.earn(len(items))
            for item in items:
                item.queue_ms = (now - item.queued) * 1e3
        exchange.full = bool(self._queue.items)
        left_ms = max(int((exchange.deadline - now) * 1e3), 1)
        request = self._dialect.request(batches.joined(items), left_ms)
        seat.sent_at = now
        assert seat.link is not None
        seat.link.send(request, partial(self._answered, seat, exchange))

    # -- ends of an exchange -------------------------------------------------------------------------------

    def _answered(self, seat: Seat, exchange: Exchange, reply: Reply | LinkFailed) -> None:
        if seat.exchange is not exchange:
            return  # it was given up
        now = monotonic()
        took = now - seat.sent_at
        self._vacate(seat)
        seat.rests_since = now
        try:
            self._settlement.settle(seat, exchange, took, now, reply)
        finally:
            self._dispatch()

    def _look(self, seat: Seat, exchange: Exchange, now: float) -> None:
        """One exchange under way: who is past his deadline, whether it is given up, or asked for elsewhere."""
        took = now - seat.sent_at
        self._overdue(exchange, now, "the answer came", took)
        if exchange.deadline <= now:
            exchange.part_from_twin()
            self._vacate(seat)
            seat.cut()  # an answer out of step would be the next caller's
            self._experience.late(seat, exchange.rows, took, now)
            return
        others = self._in_turn(seat)
        if self._experience.hedge(seat, exchange, others, now):
            attempt = self._settlement.silent(seat, "no answer yet, another was asked", took)
            for item in exchange.living():
                item.attempts.append(attempt)
            self._again.appendleft(exchange.copy())
        elif self._experience.overdue(seat, exchange, others, now):
            self._settlement.tell_overdue(exchange.living(), seat, took)

    def _overtaken(self, seat: Seat) -> None:
        self._vacate(seat)
        seat.cut()
        self._experience.overtaken(seat, monotonic())

    def _overdue(self, exchange: Exchange, now: float, what: str, took: float = 0.0) -> None:
        """Fails its items that are past their deadlines; before `what`."""
        overdue = exchange.overdue(now)
        if overdue and exchange.seat is not None:
            attempt = self._settlement.silent(exchange.seat, "no answer in time", took)
            for item in overdue:
                item.attempts.append(attempt)
        for item in overdue:
            item.future.set_exception(DeadlineExceeded(f"the deadline passed before {what}"))

    async def _try(self, seat: Seat) -> None:
        await trial(seat, self._experience)
        if not seat.health.out and seat.exchange is None and not seat.open:
            await seat.connect()
        self._dispatch()
