"""What the exchanges of one version taught: their pace, each replica's health, what may be repeated; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from router.upstream.budget import RetryBudget
from router.upstream.exchange import Exchange
from router.upstream.health import Health, slowest
from router.upstream.hedge import Pace, worth_it
from router.upstream.limit import QueueLimit, QueueRules
from router.upstream.rules import LaneLimits
from router.upstream.seat import Seat
from router.upstream.tally import Tally

log = structlog.get_logger(__name__)


class Experience:
    """Of one lane. Times are monotonic seconds, handed in; `chance` gives numbers in [0, 1)."""

    def __init__(
        self, limits: LaneLimits, tally: Tally, chance: Callable[[], float], now: float, *, rowwise: bool
    ) -> None:
        self.tally = tally
        self.limit = QueueLimit(
            QueueRules(limits.batch.rows if rowwise else 1, standing_wait_s=limits.standing_wait_s), now
        )
        self.budget = RetryBudget(now, limits.budget)
        self._rules = limits.health
        self._hedging = limits.hedge is not None
        self._pace = Pace() if limits.hedge is None else Pace(limits.hedge)
        self._chance = chance

    def newcomer(self, now: float, *, others: bool) -> Health:
        """The health of a new replica: beside others that are warm it begins with a small share."""
        return Health(self._rules, ramp_at=now if others and self._pace.count else None)

    # -- what exchanges gave -------------------------------------------------------------------------------

    def answered(self, seat: Seat, rows: int, took: float, now: float, *, full: bool) -> None:
        """An answer with 200."""
        self._pace.observe(took)
        self.limit.observe(rows, took, full)
        if seat.health.out:
            self.refused(seat, took, now)
        else:
            seat.health.answered(took, now)

    def refused(self, seat: Seat, took: float, now: float) -> None:
        """A caller's own fault: the replica did what it should."""
        health = seat.health
        before = health.out
        health.answered(took, now)
        if before and not health.out:
            log.info("replica_returned", replica=seat.replica.id)

    def failed(self, seat: Seat, why: str, now: float) -> None:
        """The exchange broke, or ended in the replica's own fault."""
        before = seat.health.out
        if seat.health.failed(why, now, self._chance()) and not before:
            self._count(seat, why)

    def late(self, seat: Seat, rows: int, took: float, now: float) -> None:
        """It was given up at its last caller's deadline; only a long silence speaks against the replica."""
        self.limit.observe(rows, took, full=False)
        if took >= (self._pace.after or float("inf")):
            self.failed(seat, "late", now)
        seat.health.undecided()

    def overtaken(self, seat: Seat, now: float) -> None:
        """Another replica answered the copy of what this one still owes."""
        before = seat.health.out
        if seat.health.overtaken(now, self._chance()) and not before:
            self._count(seat, "overtaken")

    # -- what follows from it ------------------------------------------------------------------------------

    def may_repeat(self, requests: int, now: float) -> bool:
        """Whether so many requests may be sent once more; they are paid for."""
        if self.budget.spend(requests, now):
            self.tally.retried += requests
            return True
        self.tally.refused += requests
        return False

    def hedge(self, seat: Seat, exchange: Exchange, others: int, now: float) -> bool:
        """Whether to ask another replica for the same work; it is paid for."""
        silent = now - seat.sent_at
        if not self._hedging or exchange.copied or exchange.is_copy:
            return False
        if not worth_it(self._pace.after, silent, exchange.deadline - now, others):
            return False
        requests = len(exchange.living())
        if not requests:
            return False
        if self.budget.spend(requests, now):
            self.tally.hedged += requests
            return True
        if not exchange.denied:  # asked again at every look, counted once
            exchange.denied = True
            self.tally.refused += requests
        return False

    def overdue(self, seat: Seat, exchange: Exchange, others: int, now: float) -> bool:
        """Whether its callers are to be told, once: no answer in the usual time, and nobody else to ask."""
        if exchange.told or exchange.copied or exchange.is_copy or (others and not exchange.denied):
            return False
        exchange.told = self._hedging and worth_it(
            self._pace.after, now - seat.sent_at, exchange.deadline - now, others=1
        )
        return exchange.told

    def stuck(self, seats: Collection[Seat], now: float) -> float | None:
        """Where all are overdue: who was queued before this has waited long enough too."""
        if self._pace.after is None or not seats:
            return None
        for seat in seats:
            if seat.exchange is None or not seat.exchange.told:
                return None
        return now - self._pace.after

    def eject_slowest(self, seats: Collection[Seat], now: float) -> None:
        """Puts out one that is far slower than the others, if there is one."""
        worst = slowest([seat.health for seat in seats], self._rules) if len(seats) > 2 else None
        for seat in seats if worst is not None else ():
            if seat.health is worst:
                worst.eject("slow", now, self._chance())
                self._count(seat, "slow")

    def _count(self, seat: Seat, why: str) -> None:
        self.tally.ejections[why] += 1
        log.warning("replica_ejected", replica=seat.replica.id, reason=why)
