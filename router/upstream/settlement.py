"""What the end of an exchange means for those who wait: an answer, an error, another try; it sends nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import structlog

from router.errors import ModelFailed, PointsmanError, UpstreamFailed
from router.tensors import Array
from router.upstream import batch as batches
from router.upstream.dialect import BadAnswer, Dialect
from router.upstream.exchange import Exchange
from router.upstream.experience import Experience
from router.upstream.link import LinkFailed, Reply
from router.upstream.seat import Seat
from router.upstream.work import Attempt, Item

log = structlog.get_logger(__name__)

# Predictions are idempotent: a broken exchange is tried again, within the budget, where another replica is first.
RETRIES = 2
CALLERS_OWN = 500  # statuses below are the callers' fault


class Settlement:
    """Of one lane. `again` takes what is to be sent once more.

    `others` counts the replicas in turn beside one; `overtake` frees a seat whose copy was faster.
    """

    def __init__(
        self,
        version: str,
        whose: str,
        dialect: Dialect,
        experience: Experience,
        again: deque[Exchange],
        others: Callable[[Seat], int],
        overtake: Callable[[Seat], None],
    ) -> None:
        """`whose` names version and model in errors."""
        self._version = version
        self._whose = whose
        self._dialect = dialect
        self._experience = experience
        self._again = again
        self._others = others
        self._overtake = overtake

    def settle(
        self, seat: Seat, exchange: Exchange, took: float, now: float, reply: Reply | LinkFailed
    ) -> None:
        """The exchange ended after `took` seconds."""
        if isinstance(reply, LinkFailed):
            if not reply.sent:
                exchange.repeated = True  # it has earned its part of the budget
                self.unsent(seat, exchange, str(reply))
            else:
                self._cut(seat, exchange, took, now, str(reply))
        elif reply.status == 200:
            self._read(seat, exchange, took, now, reply)
        else:
            self._refused(seat, exchange, took, now, reply)
        if seat.health.trial:
            seat.health.undecided()  # it said nothing about the replica

    def silent(self, seat: Seat, why: str, took: float) -> Attempt:
        """The attempt of an exchange that gave nothing so far."""
        return self._attempt(seat, 504, why, took)

    def tell_overdue(self, items: list[Item], seat: Seat, took: float) -> None:
        """Tells those who can look elsewhere: whoever does so waits here no more."""
        attempt = self.silent(seat, "no answer in its usual time", took)
        for item in items:
            tell: Callable[[], bool] | None = getattr(item.future, "overdue", None)
            if tell is None:  # an ordinary future
                continue
            item.attempts.append(attempt)
            if not tell():
                item.attempts.remove(attempt)

    def unsent(self, seat: Seat, exchange: Exchange, why: str) -> None:
        """Nothing left for the replica: the next try is free, and bounded by the rest of those that fail so."""
        attempt = self._attempt(seat, 503, why, 0.0)
        exchange.items = exchange.living()
        for item in exchange.items:
            item.attempts.append(attempt)
        exchange.avoid = seat
        self._again.appendleft(exchange)

    def _cut(self, seat: Seat, exchange: Exchange, took: float, now: float, why: str) -> None:
        self._experience.failed(seat, "cut", now)
        error = UpstreamFailed(f"{self._whose}: {why}", code="upstream_failed")
        self._repeat(seat, exchange, self._attempt(seat, 502, why, took), error, now)

    def _read(self, seat: Seat, exchange: Exchange, took: float, now: float, reply: Reply) -> None:
        rows = exchange.rows if exchange.items[0].rows else 0
        try:
            outputs = self._dialect.outputs(reply)
            problem = batches.wrong_rows(rows, outputs) if rows else None
        except BadAnswer as bad:
            problem = str(bad)
        if problem is None:
            self._experience.answered(seat, rows or 1, took, now, full=exchange.full)
            self._deliver(seat, exchange, rows, outputs, took * 1e3)
            return
        log.error("replica_answer_refused", replica=seat.replica.id, problem=problem)
        self._experience.failed(seat, "bad_answer", now)
        self._fail(seat, exchange, took, ModelFailed(f"{self._whose}: {problem}", code="bad_answer"))

    def _refused(self, seat: Seat, exchange: Exchange, took: float, now: float, reply: Reply) -> None:
        error = self._dialect.failure(self._whose, reply)
        if error.status < CALLERS_OWN:
            self._experience.refused(seat, took, now)
        elif error.status != 504 and not exchange.part:
            # A deadline was the callers', and a culprit counts once, however often his batch is halved.
            self._experience.failed(seat, str(error.status), now)
        if error.status == 503 and self._others(seat):
            self._repeat(seat, exchange, self._attempt(seat, 503, error.message, took), error, now)
        elif len(exchange.items) > 1 and error.status not in (503, 504):
            self._halve(exchange)
        else:
            self._fail(seat, exchange, took, error)

    def _halve(self, exchange: Exchange) -> None:
        twin = exchange.part_from_twin()
        if twin is not None:
            return  # its copy finds out
        middle = len(exchange.items) // 2
        for items in (exchange.items[:middle], exchange.items[middle:]):
            half = Exchange(items)
            half.part = half.repeated = True
            self._again.append(half)

    def _deliver(
        self, seat: Seat, exchange: Exchange, rows: int, outputs: dict[str, Array], took_ms: float
    ) -> None:
        replica, items = seat.replica.id, exchange.items
        attempt = Attempt(self._version, replica, 200, None, took_ms)
        if exchange.twin is not None:
            twin = exchange.part_from_twin()
            if twin is not None and exchange.is_copy and twin.seat is not None:
                self._overtake(twin.seat)
        for item, result in zip(items, batches.parted(items, rows, outputs), strict=True):
            if item.abandoned:
                continue
            item.attempts.append(attempt)
            item.replica = replica
            item.upstream_ms = took_ms
            item.future.set_result(result)

    def _fail(self, seat: Seat, exchange: Exchange, took: float, error: PointsmanError) -> None:
        """Nobody tries again; but where the copy, or what it was copied from, has not ended, that decides."""
        attempt = self._attempt(seat, error.status, error.message, took)
        twin = exchange.part_from_twin()
        for item in exchange.living():
            item.attempts.append(attempt)
            item.upstream_ms = took * 1e3
            item.replica = seat.replica.id
            if twin is None:
                item.future.set_exception(error)

    def _repeat(
        self, seat: Seat, exchange: Exchange, attempt: Attempt, error: PointsmanError, now: float
    ) -> None:
        """Sends a whole batch once more, elsewhere, if its items have tries left and the budget allows it."""
        twin = exchange.part_from_twin()
        again = []
        for item in exchange.living():
            item.attempts.append(attempt)
            item.upstream_ms = attempt.upstream_ms
            item.replica = seat.replica.id
            item.failures += 1
            if item.failures <= RETRIES:
                again.append(item)
            elif twin is None:
                item.future.set_exception(error)
        if twin is not None or not again:
            return
        if not self._experience.may_repeat(len(again), now):
            for item in again:
                item.future.set_exception(error)
            return
        repeated = Exchange(again)
        repeated.avoid, repeated.repeated, repeated.part = seat, True, exchange.part
        self._again.appendleft(repeated)

    def _attempt(self, seat: Seat, status: int, error: str | None, took: float) -> Attempt:
        return Attempt(self._version, seat.replica.id, status, error, took * 1e3)
