"""After what time a second replica is asked too: the usual exchange times of a version; pure: it asks nobody.

The 99th percentile comes from a histogram whose buckets are an eighth of an octave wide (as HdrHistogram's),
over the last 512 to 1,024 exchanges: two generations, the older one dropped whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

PARTS = 8
LOWEST = -16  # 2^-17 s, some 8 µs
OCTAVES = 28  # up to 2^11 s
BUCKETS = OCTAVES * PARTS


@dataclass(frozen=True, slots=True)
class HedgeRules:
    """A hedge leaves after max(`least_s`, `times` × the quantile); before `samples` exchanges none does."""

    least_s: float = 0.1
    times: float = 5.0
    quantile: float = 0.99
    samples: int = 20
    generation: int = 512
    every: int = 64  # exchanges between two looks at the histogram


RULES = HedgeRules()


class Pace:
    """How long exchanges of one version take. `after`: seconds until a hedge, None while nothing is known.

    `after` is also how long a replica may be silent before its silence counts against it.
    """

    __slots__ = ("_look_at", "_older", "_recent", "_recent_count", "_rules", "after", "count")

    def __init__(self, rules: HedgeRules = RULES) -> None:
        self._rules = rules
        self._recent = [0] * BUCKETS
        self._older = [0] * BUCKETS
        self._recent_count = 0
        self.count = 0
        self._look_at = rules.samples
        self.after: float | None = None

    def observe(self, took: float) -> None:
        """An exchange that was answered with 200, also one that was overtaken; `took` in seconds."""
        self._recent[_bucket(took)] += 1
        self._recent_count += 1
        count = self.count = self.count + 1
        if count >= self._look_at:
            self._look()

    def quantile(self, part: float) -> float | None:
        """Upper bound of the bucket that holds the quantile `part` of the recent times, seconds; ≤ 12.5 % high."""
        total = sum(self._recent) + sum(self._older)
        if not total:
            return None
        rank, seen = part * total, 0
        for bucket in range(BUCKETS):
            seen += self._recent[bucket] + self._older[bucket]
            if seen >= rank:
                return _upper(bucket)
        return _upper(BUCKETS - 1)

    def _look(self) -> None:
        rules = self._rules
        self._look_at = (self.count // rules.every + 1) * rules.every
        if self._recent_count >= rules.generation:
            self._older, self._recent, self._recent_count = self._recent, [0] * BUCKETS, 0
        usual = self.quantile(rules.quantile)
        if usual is not None and self.count >= rules.samples:
            self.after = max(rules.least_s, rules.times * usual)


def worth_it(after: float | None, silent: float, remaining: float, others: int) -> bool:
    """Whether to ask another replica too.

    `silent`: seconds since the work was sent; `remaining`: until its callers' deadline; `others`: replicas
    beside the silent one that may be used. The budget is asked last, by the caller: asking spends.
    """
    return after is not None and others > 0 and silent >= after and remaining > 0.0


def _bucket(took: float) -> int:
    mantissa, exponent = frexp(took)  # mantissa in [0.5, 1)
    if exponent < LOWEST:
        return 0
    bucket = (exponent - LOWEST) * PARTS + int((mantissa - 0.5) * (2 * PARTS))
    return bucket if bucket < BUCKETS else BUCKETS - 1


def _upper(bucket: int) -> float:
    octave, part = divmod(bucket, PARTS)
    return float(2.0 ** (octave + LOWEST) * (0.5 + (part + 1) / (2 * PARTS)))
