"""The tensor lane of one version: a bounded queue, natural batches, one exchange in flight a replica."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from time import monotonic

import structlog

from router.documents import Replica
from router.errors import DeadlineExceeded, ModelFailed, PointsmanError, Unavailable, UpstreamFailed
from router.tensors import Array
from router.upstream import batch as batches
from router.upstream.batch import BatchLimits
from router.upstream.dialect import LEAN, BadAnswer, Dialect
from router.upstream.link import Link, LinkFailed, Reply, connect
from router.upstream.work import Attempt, Item

log = structlog.get_logger(__name__)

# Predictions are idempotent: a broken exchange is tried again, on another replica where there is one.
RETRIES = 2
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds before a replica that failed to connect is tried again


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Bounds of one lane: waiting requests, waiting bytes, and those of a batch."""

    requests: int
    size: int
    batch: BatchLimits


class Seat:
    """A replica as the lane sees it: its link, whether an exchange is under way, when to try again."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.link: Link | None = None
        self.rests_since = 0.0
        self.items: list[Item] = []
        self.retired = False
        self.pause = 0.0
        self.retry_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether an exchange, or the connecting for one, is under way."""
        return bool(self.items)

    def close(self) -> None:
        """No new exchange; the one under way may still end."""
        self.retired = True
        if not self.busy and self.link is not None:
            self.link.close()


class Lane:
    """Requests of one version. An idle replica gets work at once; what comes meanwhile leaves as one batch."""

    def __init__(self, model: str, version: str, limits: LaneLimits, dialect: Dialect = LEAN) -> None:
        self.model = model
        self.version = version
        self._limits = limits
        self._dialect = dialect
        self._queue: deque[Item] = deque()
        self._halves: deque[list[Item]] = deque()  # parts of a failed batch, to find the culprit
        self._size = 0
        self._seats: dict[str, Seat] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests that wait for a replica."""
        return len(self._queue) + sum(len(half) for half in self._halves)

    @property
    def busy(self) -> int:
        """Replicas with an exchange under way."""
        return sum(seat.busy for seat in self._seats.values())

    def seat(self, replicas: tuple[Replica, ...]) -> None:
        """Sets the replicas; those that are gone finish what they have in flight."""
        names = {replica.id for replica in replicas}
        for name in [name for name in self._seats if name not in names]:
            self._seats.pop(name).close()
        for replica in replicas:
            known = self._seats.get(replica.id)
            if known is not None and known.replica.address != replica.address:
                self._seats.pop(replica.id).close()
                known = None
            if known is None:
                self._seats[replica.id] = Seat(replica)

    async def warm(self) -> bool:
        """Opens a connection to every replica that has none; whether at least one can be reached."""
        for seat in list(self._seats.values()):
            if not seat.busy and (seat.link is None or not seat.link.open):
                await self._open(seat)
        return any(seat.link is not None and seat.link.open for seat in self._seats.values())

    def submit(self, item: Item) -> None:
        """Queues an item, or sends it at once. Raises Unavailable `not_ready` or `overloaded`."""
        if not self._seats:
            raise Unavailable(
                f"version {self.version} of model {self.model} has no ready replica", code="not_ready"
            )
        limits = self._limits
        waiting = len(self._queue) if not self._halves else self.waiting
        if waiting >= limits.requests or (self._size and self._size + item.size > limits.size):
            raise Unavailable(
                f"version {self.version} of model {self.model} is overloaded: {waiting} requests wait",
                code="overloaded",
            )
        self._queue.append(item)
        self._size += item.size
        self._dispatch()

    def expire(self, now: float) -> None:
        """Fails what waits or flies past its deadline (called a few times a second)."""
        for item in self._queue:
            if item.deadline <= now and not item.abandoned:
                item.future.set_exception(DeadlineExceeded("the deadline passed while the request waited"))
        for seat in self._seats.values():
            for item in seat.items:
                if item.deadline <= now and not item.abandoned:
                    item.future.set_exception(DeadlineExceeded("the deadline passed before the answer came"))
            if not seat.busy and seat.link is not None and now - seat.rests_since > self._dialect.idle_s:
                seat.link.close()
        if any(item.abandoned for item in self._queue):
            self._queue = deque(item for item in self._queue if not item.abandoned)
            self._size = sum(item.size for item in self._queue)
        self._dispatch()

    def close(self) -> None:
        """Closes all connections; whoever waits gets Unavailable."""
        for seat in self._seats.values():
            seat.close()
        self._seats.clear()
        self._refuse("the version is no longer served")

    # -- dispatch ------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        now = monotonic()
        while self._queue or self._halves:
            seat = self._free_seat(now)
            if seat is None:
                self._refuse_if_dead(now)
                return
            items = self._next(now)
            if not items:
                return
            seat.items = items
            if seat.link is not None and seat.link.open:
                self._send(seat, items)
            else:
                task = asyncio.get_running_loop().create_task(self._open_and_send(seat, items))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _next(self, now: float) -> list[Item]:
        while self._halves:
            half = [item for item in self._halves.popleft() if not item.abandoned]
            if half:
                return half
        items, freed = batches.take(self._queue, self._limits.batch, now)
        self._size -= freed
        return items

    def _free_seat(self, now: float) -> Seat | None:
        fresh = None
        for seat in self._seats.values():
            if seat.items or seat.retry_at > now:
                continue
            if seat.link is not None and seat.link.open:
                return seat
            fresh = fresh or seat
        return fresh

    def _refuse_if_dead(self, now: float) -> None:
        """Where every replica failed to connect a moment ago, waiting would only hide it."""
        for seat in self._seats.values():
            if seat.items or seat.retry_at <= now:
                return
        if self._seats:
            self._refuse("no replica can be reached")

    def _refuse(self, why: str) -> None:
        waiting = [*self._queue, *(item for half in self._halves for item in half)]
        self._queue.clear()
        self._halves.clear()
        self._size = 0
        for item in waiting:
            if not item.abandoned:
                item.future.set_exception(
                    Unavailable(f"version {self.version} of model {self.model}: {why}", code="not_ready")
                )

    async def _open(self, seat: Seat) -> bool:
        try:
            seat.link = await connect(seat.replica.address)
        except (OSError, TimeoutError) as error:
            seat.pause = min(max(seat.pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            seat.retry_at = monotonic() + seat.pause
            log.warning("replica_unreachable", replica=seat.replica.id, error=str(error) or "time-out")
            return False
        seat.pause = seat.retry_at = 0.0
        seat.rests_since = monotonic()
        return True

    async def _open_and_send(self, seat: Seat, items: list[Item]) -> None:
        if await self._open(seat):
            self._send(seat, items)
            return
        seat.items = []
        self._again(items, Attempt(self.version, seat.replica.id, 503, "unreachable", 0.0))
        self._dispatch()

    def _send(self, seat: Seat, items: list[Item]) -> None:
        now = monotonic()
        deadline = max(item.deadline for item in items)
        for item in items:
            item.queue_ms = (now - item.queued) * 1e3
        request = self._dialect.request(batches.joined(items), max(int((deadline - now) * 1e3), 1))
        assert seat.link is not None
        seat.link.send(request, max(deadline - now, 0.001), partial(self._answered, seat, items, now))

    # -- answers -------------------------------------------------------------------------------------------

    def _answered(self, seat: Seat, items: list[Item], sent_at: float, reply: Reply | LinkFailed) -> None:
        took_ms = (monotonic() - sent_at) * 1e3
        seat.items = []
        seat.rests_since = monotonic()
        if seat.retired and seat.link is not None:
            seat.link.close()
        try:
            self._settle(seat, items, took_ms, reply)
        finally:
            self._dispatch()

    def _settle(self, seat: Seat, items: list[Item], took_ms: float, reply: Reply | LinkFailed) -> None:
        if isinstance(reply, LinkFailed):
            self._again(items, Attempt(self.version, seat.replica.id, 502, str(reply), took_ms))
            return
        error: PointsmanError
        if reply.status == 200:
            try:
                outputs = self._dialect.outputs(reply)
                problem = batches.wrong_rows(items, outputs) if items[0].rows else None
            except BadAnswer as bad:
                problem = str(bad)
            if problem is None:
                self._deliver(seat, items, outputs, took_ms)
                return
            log.error("replica_answer_refused", model=self.model, version=self.version, problem=problem)
            error = ModelFailed(f"version {self.version} of model {self.model}: {problem}", code="bad_answer")
        else:
            error = self._dialect.failure(f"version {self.version} of model {self.model}", reply)
            if len(items) > 1 and error.status not in (503, 504):
                middle = len(items) // 2
                self._halves.extend((items[:middle], items[middle:]))
                return
        attempt = Attempt(self.version, seat.replica.id, error.status, error.message, took_ms)
        for item in items:
            item.attempts.append(attempt)
            item.upstream_ms = took_ms
            item.replica = seat.replica.id
            if not item.abandoned:
                item.future.set_exception(error)

    def _deliver(self, seat: Seat, items: list[Item], outputs: dict[str, Array], took_ms: float) -> None:
        attempt, replica = Attempt(self.version, seat.replica.id, 200, None, took_ms), seat.replica.id
        for item, result in zip(items, batches.parted(items, outputs), strict=True):
            item.attempts.append(attempt)
            item.replica = replica
            item.upstream_ms = took_ms
            if not item.abandoned:
                item.future.set_result(result)

    def _again(self, items: list[Item], attempt: Attempt) -> None:
        """Puts items of a broken exchange back to the head of the queue, unless they had their tries."""
        for item in reversed(items):
            item.attempts.append(attempt)
            item.failures += 1
            if item.abandoned:
                continue
            if item.failures > RETRIES:
                item.future.set_exception(
                    UpstreamFailed(
                        f"version {self.version} of model {self.model}: {attempt.error}",
                        code="upstream_failed",
                    )
                )
            else:
                self._queue.appendleft(item)
                self._size += item.size
