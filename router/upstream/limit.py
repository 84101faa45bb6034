"""Which request not to queue, since its answer would come too late, and how many streams a replica bears; pure.

First come, first served, with refusal at the door. Under overload somebody is not served: last-in-first-out
would serve the newest fast but let the oldest, who wait and hold memory, run into their deadline; a queue as
long as the deadline would answer all just at it, many a moment later. So only a part of a caller's time may
be spent waiting, and less of it where the queue has stood for a while (the idea of CoDel, RFC 8289: a queue
that drains is a burst and welcome, one that stands only adds latency). The window of streams is additive
increase, multiplicative decrease (Chiu and Jain 1989), on refusals and lateness: the routes of a user's
service differ too much for a gradient of latencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

WEIGHT = 0.1
OUTLIER = 4.0
TICK_S = 0.001


@dataclass(frozen=True, slots=True)
class QueueRules:
    """`share` of a caller's time may pass until his answer; in a queue that stands, `standing_share` of it."""

    batch_rows: int  # most rows of an exchange; 1 where every request is its own
    share: float = 0.8
    standing_share: float = 0.5
    standing_after_s: float = 1.0
    standing_wait_s: float = 5.0
    samples: int = 10
    longest_retry_s: int = 30


class QueueLimit:
    """One lane: what exchanges take by their rows, and from that when a newcomer would have his answer.

    The time of an exchange is taken as fixed + rows × each, fitted to the last exchanges; where these were all
    of one size, larger ones are taken to cost no more: a guess too high would refuse the work that corrects it.
    `empty_at`: when the queue was last seen empty (monotonic seconds); the lane sets it.
    """

    __slots__ = ("_cov", "_full", "_rows", "_rules", "_samples", "_soon", "_var", "empty_at", "took_s")

    def __init__(self, rules: QueueRules, now: float) -> None:
        self._rules = rules
        self._samples = 0
        self._rows = self._var = self._cov = 0.0
        self._full = float(max(rules.batch_rows, 1))
        self._soon = 0.0
        self.took_s = 0.0
        self.empty_at = now

    def observe(self, rows: int, took: float, full: bool) -> None:
        """An exchange of `rows` rows (1 for a request that goes alone) was answered or timed out, `took` seconds.

        `full`: others waited that did not fit into it. Refusals (503) and errors say nothing about the pace.
        """
        if not self._samples:
            self._rows, self.took_s = float(rows), took
        else:
            most = OUTLIER * self.took_s + TICK_S
            more, longer = rows - self._rows, (took if took < most else most) - self.took_s
            self._rows += WEIGHT * more
            self.took_s += WEIGHT * longer
            self._var = (1 - WEIGHT) * (self._var + WEIGHT * more * more)
            self._cov = (1 - WEIGHT) * (self._cov + WEIGHT * more * longer)
        if full:  # bytes or shapes may end a batch before its rows do
            self._full = max(self._full + WEIGHT * (rows - self._full), 1.0)
        self._samples += 1
        # What `wait` gives at most for who still fits into the next batch.
        mean = self._rows
        self._soon = self.took_s * (0.5 + (self._full / mean if mean < self._full else 1.0))

    def surely(self, ahead: int, rows: int, remaining: float) -> bool:
        """Whether `refuse` would let it in, whatever else there is; cheap, for the many easy cases."""
        rules, soon = self._rules, self._soon
        return (
            ahead + rows <= self._full
            and soon <= rules.standing_share * remaining
            and soon <= rules.standing_wait_s
        )

    def retry_after(self, ahead: int, replicas: int, chance: float) -> int:
        """Seconds after which a queue that is full now has moved on; spread by `chance`."""
        excess = self.wait(ahead, 1, replicas) if self._samples else 0.0
        return min(max(ceil(excess * (1.0 + chance)), 1), self._rules.longest_retry_s)

    def wait(self, ahead: int, rows: int, replicas: int) -> float:
        """Expected seconds until the answer to `rows` rows that queue behind `ahead` rows, all replicas busy."""
        usual, mean = self.took_s, self._rows
        each = 0.0
        if self._var > 0.01 * mean * mean:
            each = min(max(self._cov / self._var, 0.0), usual / max(mean, 1.0))
        fixed = usual - each * mean
        replicas = max(replicas, 1)
        full = self._full
        before = ahead // full
        own = min(ahead - before * full + rows, max(full, rows))
        return (0.5 * usual + before * (fixed + each * full)) / replicas + fixed + each * own

    def refuse(
        self, ahead: int, rows: int, replicas: int, remaining: float, now: float, chance: float
    ) -> int | None:
        """Seconds for Retry-After where a request should not be queued, else None. Only for a queue not empty.

        `ahead`, `rows`: rows that wait and that come (1 for requests that go alone); `remaining`: seconds to
        the caller's deadline. The time told is spread by `chance` in [0, 1), so that not all return as one.
        """
        rules = self._rules
        if self._samples < rules.samples or ahead <= 0:
            return None
        patience = rules.share * remaining
        if now - self.empty_at > rules.standing_after_s:
            patience = min(rules.standing_share * remaining, rules.standing_wait_s)
            # Never less than what keeps every replica at work.
            patience = max(patience, min(2.0 * self.took_s, rules.share * remaining))
        excess = self.wait(ahead, rows, replicas) - patience
        if excess <= 0:
            return None
        return min(max(ceil(excess * (1.0 + chance)), 1), rules.longest_retry_s)

    def horizon(self, waiting: int) -> float:
        """Seconds of a usual exchange: who has less left is not sent where others wait; 0 for one alone.

        One alone is always tried: it is how a pace that was guessed too slow is found out.
        """
        return self.took_s if waiting > 1 and self._samples >= self._rules.samples else 0.0


@dataclass(frozen=True, slots=True)
class WindowRules:
    """Streams at once to one replica: between `least` and `most`, `first` before anything is known."""

    first: int = 64
    least: int = 8
    most: int = 1024
    keep: float = 0.7  # what a refusal leaves of the window
    rest_s: float = 1.0  # one decrease in this time: what is under way was sent before the first
    late_share: float = 0.5  # an answer that took this part of its time is a sign of too many


WINDOW = WindowRules()


class Window:
    """How many exchanges of the pass-through lane one replica of this router bears at once."""

    __slots__ = ("_cut_at", "_rules", "size")

    def __init__(self, rules: WindowRules = WINDOW) -> None:
        self._rules = rules
        self._cut_at = float("-inf")
        self.size = float(rules.first)

    def admits(self, busy: int) -> bool:
        """Whether one more may begin beside `busy` others."""
        return busy < int(self.size)

    def answered(self, busy: int, took: float, allowed: float, now: float) -> None:
        """The head of an answer came after `took` of `allowed` seconds, `busy` exchanges (it too) under way."""
        if 2 * busy < self.size:
            return  # the window was not in use: nothing is learned about its size
        if took > self._rules.late_share * allowed:
            self.refused(now)
        else:
            self.size = min(self.size + 1.0 / self.size, float(self._rules.most))

    def refused(self, now: float) -> None:
        """The replica answered 429 or 503, or not in time."""
        if now - self._cut_at >= self._rules.rest_s:
            self._cut_at = now
            self.size = max(self.size * self._rules.keep, float(self._rules.least))
