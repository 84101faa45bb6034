"""How long to wait before a process that ended is started again; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_S = 0.1
LONGEST_S = 5.0
HEALTHY_S = 30.0
"""A process that lived this long starts its count anew."""


def delay(ended: int) -> float:
    """Seconds before the next start, after `ended` (≥ 1) ends in a row: 0, 0.1, 0.2, … at most 5."""
    if ended <= 1:
        return 0.0
    return float(min(FIRST_S * 2.0 ** min(ended - 2, 16), LONGEST_S))


@dataclass(frozen=True, slots=True)
class Backoff:
    """The ends in a row of one process that should not end."""

    ended: int = 0

    def after(self, lived_s: float) -> Backoff:
        """The count after one more end, of a process that had lived `lived_s` seconds."""
        return replace(self, ended=1 if lived_s >= HEALTHY_S else self.ended + 1)

    @property
    def delay_s(self) -> float:
        """Seconds before the next start."""
        return delay(self.ended)
