"""Refuses a part of new predictions while the router's loop wakes up late; it owns the timer of `Lag`."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import random
from time import monotonic

from router.edge.lag import Lag, LagRules
from router.errors import Unavailable

LEAVE = 0.4  # of the lateness that begins the shedding


class Shedding:
    """Of one router. The hot path looks at `share` alone, and calls `look` only where it is not 0."""

    def __init__(self, enter_ms: int) -> None:
        """`enter_ms`: lateness of the loop from which work is refused; 0: it is only measured."""
        enter_s = enter_ms / 1e3
        self.lag = Lag(
            monotonic(), LagRules(enter_s=enter_s, leave_s=LEAVE * enter_s) if enter_ms else LagRules()
        )
        self.share = 0.0
        self.shed: Counter[str] = Counter()
        self._sheds = bool(enter_ms)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to measure; call in the loop that serves."""
        self.lag = Lag(monotonic(), self.lag.rules)
        self._arm(self.lag.rules.every_s)

    def close(self) -> None:
        """Ends the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self, model: str) -> None:
        """Refuses a prediction by chance. Raises Unavailable `overloaded`; `model` is a known one, or empty."""
        if self.share and self.lag.sheds(random()):
            self.shed[model] += 1
            raise Unavailable("the router is overloaded", code="overloaded")

    def _tick(self) -> None:
        after = self.lag.tick(monotonic())
        self.share = self.lag.share if self._sheds else 0.0
        self._arm(after)

    def _arm(self, after: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(after, self._tick)
