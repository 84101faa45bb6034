"""Deadlines of many short waits by one timer that looks around, not by a timer each; knows nothing of requests."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

TICK = 0.01  # seconds between looks: so much later than promised a wait may end


class Waiting(Protocol):
    """What has a deadline."""

    def late(self) -> None:
        """Its time is over; it is not watched any more."""


class Deadlines:
    """Watches until it is told to forget; costs a dict entry each, and a timer only while anything waits."""

    def __init__(self) -> None:
        self._watched: dict[Waiting, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, waiting: Waiting, until: float) -> None:
        """Calls `waiting.late` after `until`, a reading of `time.monotonic`; replaces what was set before."""
        self._watched[waiting] = until
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._look)

    def forget(self, waiting: Waiting) -> None:
        """Its wait is over, if there was one."""
        self._watched.pop(waiting, None)

    def _look(self) -> None:
        self._timer = None
        now = monotonic()
        if self._watched:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._look)
        late = [waiting for waiting, until in self._watched.items() if until < now]
        for waiting in late:
            # One's end may have ended or prolonged another's wait.
            if self._watched.get(waiting, now) < now:
                del self._watched[waiting]
                waiting.late()
