"""What the exchanges of one tensor lane taught: their pace beside the judgement of its replicas; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection

from router.upstream.exchange import Exchange
from router.upstream.health import Health
from router.upstream.hedge import Pace, worth_it
from router.upstream.judgement import Judgement
from router.upstream.limit import QueueLimit, QueueRules
from router.upstream.rules import LaneLimits
from router.upstream.seat import Seat
from router.upstream.tally import Tally


class Experience(Judgement):
    """Of one lane. Times are monotonic seconds, handed in; `chance` gives numbers in [0, 1)."""

    def __init__(
        self, limits: LaneLimits, tally: Tally, chance: Callable[[], float], now: float, *, rowwise: bool
    ) -> None:
        super().__init__(limits.health, limits.budget, tally, chance, now)
        self.limit = QueueLimit(
            QueueRules(limits.batch.rows if rowwise else 1, standing_wait_s=limits.standing_wait_s), now
        )
        self._hedging = limits.hedge is not None
        self._pace = Pace() if limits.hedge is None else Pace(limits.hedge)

    def newcomer(self, now: float, *, beside: bool) -> Health:
        """As `Judgement.newcomer`; before the first answer nobody is warm."""
        return super().newcomer(now, beside=beside and bool(self._pace.count))

    # -- what exchanges gave -------------------------------------------------------------------------------

    def answered(self, seat: Seat, rows: int, took: float, now: float, *, full: bool) -> None:
        """An answer with 200."""
        self._pace.observe(took)
        self.limit.observe(rows, took, full)
        if seat.health.out:
            self.refused(seat, took, now)
        else:
            seat.health.answered(took, now)

    def late(self, seat: Seat, rows: int, took: float, now: float) -> None:
        """It was given up at its last caller's deadline; only a long silence speaks against the replica."""
        self.limit.observe(rows, took, full=False)
        if took >= (self._pace.after or float("inf")):
            self.failed(seat, "late", now)
        seat.health.undecided()

    # -- what follows from it ------------------------------------------------------------------------------

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
