"""When a replica is out of turn and how it comes back, from what its exchanges gave; pure: it sends nothing.

Ejection follows Envoy's outlier detection (consecutive errors, exponential times, panic threshold), read from
its documentation; a hedge that overtakes an exchange is stronger evidence than an error and ejects at once.
All times are seconds of `time.monotonic`, handed in; `chance` is a number in [0, 1).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import median

WEIGHT = 0.1
"""Of one exchange in the mean latency."""
OUTLIER = 4.0
"""An exchange counts as at most this many times the mean so far: one pause alone makes nobody slow."""
TICK_S = 0.001


@dataclass(frozen=True, slots=True)
class HealthRules:
    """Bounds of the judgement; seconds where the name ends in `_s`."""

    errors: int = 3  # in a row
    first_s: float = 1.0  # out for this long, then twice as long, …
    longest_s: float = 60.0
    spread: float = 0.25  # a part of the time added by chance, so that routers do not come back as one
    slow_times: float = 5.0  # the median of the others
    slow_s: float = 0.05  # and this much above it
    samples: int = 20
    ramp_s: float = 5.0
    ramp_from: float = 0.1


RULES = HealthRules()


class Health:
    """One replica. `out`: not used but for a trial; `full_at`: from then on it takes its whole share.

    The hot path reads those two and calls `answered`, once an exchange.
    """

    __slots__ = (
        "_rules",
        "ejections",
        "errors",
        "full_at",
        "latency_s",
        "out",
        "returned_at",
        "samples",
        "trial",
        "until",
        "why",
    )

    def __init__(self, rules: HealthRules = RULES, *, ramp_at: float | None = None) -> None:
        """`ramp_at`: it begins now, beside others that are warm; None: with a whole share."""
        self._rules = rules
        self.out = self.trial = False
        self.errors = self.samples = self.ejections = 0
        self.latency_s = self.until = 0.0
        self.returned_at = float("-inf") if ramp_at is None else ramp_at
        self.full_at = self.returned_at + rules.ramp_s
        self.why: str | None = None

    # -- what its exchanges gave ---------------------------------------------------------------------------

    def answered(self, took: float, now: float) -> None:
        """An exchange ended well (a caller's own fault counts as well): `took` seconds."""
        if self.out:
            if self.trial:
                self._return(now)
            return  # a late answer of before: its time is not over
        self.errors = 0
        mean = self.latency_s
        if self.samples:
            most = OUTLIER * mean + TICK_S
            self.latency_s = mean + WEIGHT * ((took if took < most else most) - mean)
        else:
            self.latency_s = took
        self.samples += 1

    def failed(self, why: str, now: float, chance: float) -> bool:
        """An exchange broke, or ended in the replica's own fault; whether it is ejected by that.

        A time-out counts only where it is longer than the hedge's patience: callers choose their deadlines,
        and a short one must not put a replica out.
        """
        if self.out and not self.trial:
            return False
        self.errors += 1
        if not self.trial and self.errors < self._rules.errors:
            return False
        self.eject(why, now, chance)
        return True

    def overtaken(self, now: float, chance: float) -> bool:
        """Another replica answered the same work while this one still owes it; whether it is ejected."""
        if self.out and not self.trial:
            return False
        self.eject("overtaken", now, chance)
        return True

    def eject(self, why: str, now: float, chance: float) -> None:
        """Out for `first_s`, doubled for each time before; a replica that stayed `longest_s` begins anew."""
        rules = self._rules
        if not self.out and now - self.returned_at > rules.longest_s:
            self.ejections = 0
        length = min(rules.first_s * 2.0 ** min(self.ejections, 30), rules.longest_s)
        self.ejections += 1
        self.out, self.trial, self.why = True, False, why
        self.until = now + length * (1.0 + rules.spread * chance)

    # -- whether it may be used ----------------------------------------------------------------------------

    def due(self, now: float) -> bool:
        """Whether its time out is over and nobody tries it yet."""
        return self.out and not self.trial and now >= self.until

    def attempt(self) -> None:
        """The next exchange or probe of a replica that is out decides on its return."""
        if self.out:
            self.trial = True

    def undecided(self) -> None:
        """A trial ended without a verdict (its callers left): the next may begin at once."""
        self.trial = False

    def share(self, now: float) -> float:
        """The part of a replica's usual work it takes now: 0 while it is out, growing after its return."""
        if self.out:
            return 0.0
        if now >= self.full_at:
            return 1.0
        rules = self._rules
        grown = max(now - self.returned_at, 0.0) / rules.ramp_s
        return rules.ramp_from + (1.0 - rules.ramp_from) * grown

    def admits(self, now: float, chance: float) -> bool:
        """Whether the next piece of work may go there, others being usable too."""
        return chance < self.share(now)

    def _return(self, now: float) -> None:
        self.out = self.trial = False
        self.errors = self.samples = 0
        self.latency_s = 0.0  # what it was before says nothing about it now
        self.returned_at = now
        self.full_at = now + self._rules.ramp_s
        self.why = None


# -- the replicas of one version --------------------------------------------------------------------------


def panic(healths: Collection[Health]) -> bool:
    """Whether fewer than half are healthy: then all are used, those that are out behind the others."""
    return 2 * sum(not health.out for health in healths) < len(healths)


def slowest(healths: Collection[Health], rules: HealthRules = RULES) -> Health | None:
    """The replica to eject for slowness, if any; at most one a look, and never into a panic.

    It needs two others that are healthy and measured, and is far above their median.
    """
    healthy = [health for health in healths if not health.out]
    measured = [health for health in healthy if health.samples >= rules.samples]
    if len(measured) < 3 or 2 * (len(healthy) - 1) < len(healths):
        return None
    worst = max(measured, key=lambda health: health.latency_s)
    usual = median(health.latency_s for health in measured if health is not worst)
    if worst.latency_s > rules.slow_times * usual and worst.latency_s > usual + rules.slow_s:
        return worst
    return None
