"""How many repeated requests a version's replicas may get beyond the first tries; pure: it repeats nothing.

A token bucket as in Finagle's RetryBudget (a part of the requests, and a small floor by time), counted in
requests, not in exchanges: a batch that is sent again costs each of its items.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BudgetRules:
    """`ratio` of first tries; `floor` repeated requests a second in any case; `saved`: most that is kept."""

    ratio: float = 0.1
    floor: float = 1.0
    saved: float = 20.0


RULES = BudgetRules()


class RetryBudget:
    """The account of one lane, for retries and hedges alike.

    A balance of one pays for a batch of any size and may become a debt, which the next first tries pay off:
    so a broken batch is always sent again where the account was good, and in the long run, over `n` first
    tries in `t` seconds with batches of at most `b`, repeated ≤ 1 + ratio·n + floor·t + b.
    Amplification (sent / first tries) tends to 1 + ratio + floor / (requests a second): 1.2 from 10/s on.
    What was never sent (a replica that cannot be connected) amplifies nothing and need not be paid for.
    """

    __slots__ = ("_at", "_rules", "balance", "refused", "spent")

    def __init__(self, now: float, rules: BudgetRules = RULES) -> None:
        self._rules = rules
        self._at = now
        self.balance = 1.0
        self.spent = 0
        self.refused = 0

    def earn(self, requests: int) -> None:
        """So many requests were sent for the first time (once an exchange)."""
        balance = self.balance + self._rules.ratio * requests
        saved = self._rules.saved
        self.balance = balance if balance < saved else saved

    def spend(self, requests: int, now: float) -> bool:
        """Whether `requests` (≥ 1) may be sent once more; if so, they are paid for. `now` is monotonic seconds."""
        self._accrue(now)
        if self.balance < 1.0:
            self.refused += requests
            return False
        self.balance -= requests
        self.spent += requests
        return True

    def _accrue(self, now: float) -> None:
        passed = max(now - self._at, 0.0)
        self._at = max(now, self._at)
        self.balance = min(self.balance + passed * self._rules.floor, self._rules.saved)
