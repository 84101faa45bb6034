"""How many connections a listener of one process may have, in all and from one address; counts, opens none."""

from __future__ import annotations

import resource
from collections import Counter

SPARE = 256  # descriptors for everything that is no caller's connection


class Connections:
    """The open ones; `refused` counts by what they ran into: `all` or `caller`."""

    def __init__(self, most: int, of_caller: int) -> None:
        """`of_caller`: most from one address; 0: no bound of its own."""
        self.most = most
        self.of_caller = of_caller
        self.open = 0
        self.refused: Counter[str] = Counter()
        self._by_caller: dict[str, int] = {}

    def admit(self, caller: str) -> str | None:
        """Counts one more; or tells which limit refuses it, and does not count it."""
        have = self._by_caller.get(caller, 0)
        limit = "all" if self.open >= self.most else "caller" if 0 < self.of_caller <= have else None
        if limit is None:
            self.open += 1
            self._by_caller[caller] = have + 1
        else:
            self.refused[limit] += 1
        return limit

    def leave(self, caller: str) -> None:
        """One that was admitted is closed."""
        self.open -= 1
        have = self._by_caller[caller] - 1
        if have:
            self._by_caller[caller] = have
        else:
            del self._by_caller[caller]


def affordable(most: int) -> int:
    """`most`, or how many connections this process has descriptors for; raises its own bound as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft - SPARE))
