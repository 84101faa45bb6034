"""Whether the table may be trusted: when it was last confirmed, whether this process stood still; pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Freshness:
    """Times are seconds of one clock that runs on while the process, or the machine, is stopped.

    A table is fresh while its last confirmation is younger than `lease`, unless the loop stood still for
    longer than `pause` since: a router that was stopped must ask before it chooses again.
    """

    lease: float
    pause: float = 0.5
    confirmed_at: float = float("-inf")
    ticked_at: float = float("-inf")
    stopped_at: float = float("-inf")  # when a standstill was noticed
    failing: bool = False  # the last attempt to confirm failed; the next success clears it

    def tick(self, now: float) -> None:
        """Called by the loop a few times a second."""
        if now - self.ticked_at > self.pause:
            self.stopped_at = now
        self.ticked_at = now

    def confirmed(self, asked_at: float) -> None:
        """The revision was read by a question asked at `asked_at`."""
        self.confirmed_at = max(self.confirmed_at, asked_at)
        self.failing = False

    def fresh(self, now: float) -> bool:
        """Whether a request may be routed without asking."""
        return (
            now - self.confirmed_at <= self.lease
            and now - self.ticked_at <= self.pause
            and self.confirmed_at >= self.stopped_at
        )
