"""How late the event loop wakes up, and what part of new work to refuse while it is; pure: it has no timer.

The loop's owner calls `tick` from a timer every `every_s` seconds; all times are seconds of `time.monotonic`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil

WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class LagRules:
    """Above `enter_s` work is refused more and more, below `leave_s` less and less, between them as before."""

    every_s: float = 0.05
    enter_s: float = 0.25
    leave_s: float = 0.1
    ticks: int = 3  # late in a row before anything is refused: one pause, over by now, is no overload
    rise: float = 0.2
    fall: float = 0.05  # a tick; some second from the highest share to none
    most: float = 0.95  # somebody gets through, and shows whether it is over
    weight: float = 0.2


RULES = LagRules()


class Lag:
    """Lateness of the last wake-ups. `share`: the part of new work to refuse now, 0 on a healthy loop.

    `mean` and `peak` (of the last second) are seconds, for the gauges.
    """

    __slots__ = ("_due", "_late", "_recent", "mean", "rules", "share")

    def __init__(self, now: float, rules: LagRules = RULES) -> None:
        self.rules = rules
        self._due = now + rules.every_s
        self._late = 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=ceil(WINDOW_S / rules.every_s) + 1)
        self.mean = 0.0
        self.share = 0.0

    def tick(self, now: float) -> float:
        """The timer came; gives the seconds until it should come again."""
        rules = self.rules
        late = max(now - self._due, 0.0)
        self._due = now + rules.every_s
        self._recent.append((now, late))
        self.mean += rules.weight * (late - self.mean)
        self._late = self._late + 1 if late >= rules.enter_s else 0
        if self._late >= rules.ticks:
            self.share = min(self.share + rules.rise, rules.most)
        elif late < rules.leave_s:
            self.share = max(self.share - rules.fall, 0.0)
        return rules.every_s

    def peak(self, now: float) -> float:
        """The latest wake-up of the last second; also one that is overdue right now."""
        seen = [late for at, late in self._recent if now - at <= WINDOW_S]
        return max([*seen, now - self._due, 0.0])

    def sheds(self, chance: float) -> bool:
        """Whether to refuse this piece of new work with 503 `overloaded`; `chance` in [0, 1)."""
        return chance < self.share
