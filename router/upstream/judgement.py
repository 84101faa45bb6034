"""What is held against the replicas of one version, and what may be repeated there; both lanes use it; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog

from router.upstream.budget import BudgetRules, RetryBudget
from router.upstream.health import Health, HealthRules, slowest
from router.upstream.tally import Tally
from router.upstream.turn import Place

log = structlog.get_logger(__name__)


class Judgement:
    """Of one version in one lane. Times are monotonic seconds; `chance` gives numbers in [0, 1)."""

    def __init__(
        self, rules: HealthRules, budget: BudgetRules, tally: Tally, chance: Callable[[], float], now: float
    ) -> None:
        self.tally = tally
        self.budget = RetryBudget(now, budget)
        self._rules = rules
        self._chance = chance

    def newcomer(self, now: float, *, beside: bool) -> Health:
        """The health of a new replica; `beside` others that are warm it begins with a small share."""
        return Health(self._rules, ramp_at=now if beside else None)

    def refused(self, place: Place, took: float, now: float) -> None:
        """A caller's own fault: the replica did what it should."""
        health = place.health
        before = health.out
        health.answered(took, now)
        if before and not health.out:
            log.info("replica_returned", replica=place.replica.id)

    def failed(self, place: Place, why: str, now: float) -> None:
        """The exchange broke, or ended in the replica's own fault."""
        before = place.health.out
        if place.health.failed(why, now, self._chance()) and not before:
            self._count(place, why)

    def overtaken(self, place: Place, now: float) -> None:
        """Another replica answered the copy of what this one still owes."""
        before = place.health.out
        if place.health.overtaken(now, self._chance()) and not before:
            self._count(place, "overtaken")

    def may_repeat(self, requests: int, now: float) -> bool:
        """Whether so many requests may be sent once more; they are paid for."""
        if self.budget.spend(requests, now):
            self.tally.retried += requests
            return True
        self.tally.refused += requests
        return False

    def eject_slowest(self, places: Collection[Place], now: float) -> None:
        """Puts out one that is far slower than the others, if there is one."""
        worst = slowest([place.health for place in places], self._rules) if len(places) > 2 else None
        for place in places if worst is not None else ():
            if place.health is worst:
                worst.eject("slow", now, self._chance())
                self._count(place, "slow")

    def _count(self, place: Place, why: str) -> None:
        self.tally.ejections[why] += 1
        log.warning("replica_ejected", replica=place.replica.id, reason=why)
