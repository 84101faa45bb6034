"""What the lanes of a version counted; plain numbers that outlive the lane, so that counters never fall."""

from __future__ import annotations

from collections import Counter


class Tally:
    """One version in one router. Retries and hedges are counted in requests, ejections in replicas, by reason."""

    __slots__ = ("crowded", "ejections", "hedged", "late", "refused", "retried", "shed")

    def __init__(self) -> None:
        self.ejections: Counter[str] = Counter()
        self.retried = 0
        self.hedged = 0
        self.refused = 0  # repetitions that the budget did not allow
        self.crowded = 0  # no replica took another exchange of the pass-through lane
        self.shed = 0  # the queue was full
        self.late = 0  # the answer would have come too late
