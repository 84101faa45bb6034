"""How many refused attempts are written, so that a flood of them fills nothing; pure: the clock is passed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

MOST_CALLERS = 1024


@dataclass(slots=True)
class Bucket:
    """`size` at once, and one more every `every` seconds."""

    size: int
    every: float
    level: float = field(init=False)
    at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.level = float(self.size)

    def has(self, now: float) -> bool:
        """Whether one is left at `now` (seconds, monotonic)."""
        self.level = min(self.size, self.level + max(0.0, now - self.at) / self.every)
        self.at = now
        return self.level >= 1

    def take(self) -> None:
        """One less."""
        self.level -= 1


@dataclass(slots=True)
class Account:
    """One caller: what may still be written, and what was counted instead; `last` is the newest of these."""

    bucket: Bucket
    more: int = 0
    last: object = None


class Budget:
    """A bucket a caller, and one for all together.

    Ten at once and one a minute of each caller, sixty at once and one every ten seconds of all: at most 8,700 a
    day and process. What is over is counted, and the number stands in the caller's next entry.
    """

    def __init__(self, caller: tuple[int, float] = (10, 60.0), whole: tuple[int, float] = (60, 10.0)) -> None:
        self._caller = caller
        self._whole = Bucket(*whole)
        self._accounts: OrderedDict[Hashable, Account] = OrderedDict()

    def admit(self, caller: Hashable, what: object, now: float) -> int | None:
        """None: count it. Else write it, with this number of others that were counted before."""
        account = self._accounts.get(caller)
        if account is None:
            account = self._accounts[caller] = Account(Bucket(*self._caller))
            if len(self._accounts) > MOST_CALLERS:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(caller)
        if not (account.bucket.has(now) and self._whole.has(now)):
            account.more += 1
            account.last = what
            return None
        account.bucket.take()
        self._whole.take()
        more, account.more = account.more, 0
        return more

    def due(self, now: float) -> list[tuple[object, int]]:
        """What was counted and may be written by now: the newest of each caller, and how many came before it."""
        found = []
        for account in self._accounts.values():
            if account.more and account.bucket.has(now) and self._whole.has(now):
                account.bucket.take()
                self._whole.take()
                found.append((account.last, account.more - 1))
                account.more, account.last = 0, None
        return found
