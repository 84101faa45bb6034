"""Who waits for a replica of one version: bounded, in order, and shut to whom an answer would come too late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from router.errors import DeadlineExceeded, Unavailable
from router.upstream import batch as batches
from router.upstream.limit import QueueLimit
from router.upstream.rules import LaneLimits
from router.upstream.tally import Tally
from router.upstream.work import Item


class Queue:
    """Items in their order. `usable` tells how many replicas are in turn; it is asked only where it matters."""

    def __init__(
        self,
        whose: str,
        limits: LaneLimits,
        limit: QueueLimit,
        tally: Tally,
        chance: Callable[[], float],
        usable: Callable[[], int],
    ) -> None:
        """`whose` names version and model in errors."""
        self.items: deque[Item] = deque()
        self._size = self._rows = 0
        self._whose = whose
        self._limits = limits
        self._limit = limit
        self._tally = tally
        self._chance = chance
        self._usable = usable

    def put(self, item: Item, others: int) -> None:
        """Appends an item; `others` wait beside the queue. Raises Unavailable `overloaded` with a time."""
        items, limits, rows = self.items, self._limits, item.rows or 1
        waiting = len(items) + others
        if waiting >= limits.requests or (self._size and self._size + item.size > limits.size):
            self._tally.shed += 1
            again = self._limit.retry_after(self._rows, self._usable(), self._chance())
            raise self._overloaded(f"{waiting} requests wait", again)
        if not items:
            self._limit.empty_at = item.queued
        elif not self._limit.surely(self._rows, rows, item.deadline - item.queued):
            self._admit(item, rows)
        items.append(item)
        self._size += item.size
        self._rows += rows

    def take(self, now: float) -> list[Item]:
        """The next batch; empty where nobody waits any more."""
        items, limit = self.items, self._limit
        batch, size, rows = batches.take(items, self._limits.batch, now, limit.horizon(len(items)))
        self._size -= size
        self._rows -= rows
        if not items:
            limit.empty_at = now
        return batch

    def expire(self, now: float) -> None:
        """Fails those whose time is over, and lets go whom nobody waits for."""
        for item in [item for item in self.items if item.deadline <= now and not item.abandoned]:
            item.future.set_exception(DeadlineExceeded("the deadline passed while the request waited"))
        if any(item.abandoned for item in self.items):
            self.items = deque(item for item in self.items if not item.abandoned)
            self._size = sum(item.size for item in self.items)
            self._rows = sum(item.rows or 1 for item in self.items)

    def before(self, since: float) -> list[Item]:
        """Those who were queued before, and are not told yet."""
        found = []
        for item in self.items:
            if item.queued > since:
                break
            if not item.told and not item.abandoned:
                item.told = True
                found.append(item)
        return found

    def clear(self) -> list[Item]:
        """Takes everybody out."""
        found = list(self.items)
        self.items.clear()
        self._size = self._rows = 0
        return found

    def _admit(self, item: Item, rows: int) -> None:
        """Refuses an item whose answer would come too late."""
        now = item.queued
        seconds = self._limit.refuse(
            self._rows, rows, self._usable(), item.deadline - now, now, self._chance()
        )
        if seconds is not None:
            self._tally.late += 1
            raise self._overloaded("an answer would come too late", seconds)

    def _overloaded(self, why: str, retry_after: int) -> Unavailable:
        error = Unavailable(f"{self._whose} is overloaded: {why}", code="overloaded")
        error.retry_after = retry_after
        return error
