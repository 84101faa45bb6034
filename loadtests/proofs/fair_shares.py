"""One caller that asks for ten times what the others do: what they notice of it."""

from __future__ import annotations

import asyncio
import statistics

from loadtests.caller import Load, digit_rows
from loadtests.fleet import Fleet
from loadtests.proofs.figures import Figures, percentile
from loadtests.proofs.flips import PATH

CALLERS = 8
RATE = 15.0  # of each honest caller, requests a second
GREED = 10
TIMES, OR_MS = 2.0, 5.0


async def greedy(fleet: Fleet, rounds: int, seconds: float) -> Figures:
    """The honest p99 alone and beside the greedy one, in turn; what the median pair differs by."""
    await honest(fleet, seconds)  # warm
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(await honest(fleet, seconds))
        load = Load(fleet.port, PATH, digit_rows(64), GREED, rate=RATE * GREED)
        load.start()
        try:
            beside.append(await honest(fleet, seconds))
        finally:
            greed = await load.stop()
        assert all(each.status in (200, 503) for each in greed)
    ratio = statistics.median(b / a for a, b in zip(alone, beside, strict=True))
    more_ms = statistics.median((b - a) * 1e3 for a, b in zip(alone, beside, strict=True))
    assert ratio <= TIMES or more_ms <= OR_MS, (alone, beside)
    return {
        "paired rounds": rounds,
        "honest failed": 0,
        "greedy rps": round(RATE * GREED),
        "honest rps": round(RATE * CALLERS),
        "p99 alone ms (median)": round(statistics.median(alone) * 1e3, 2),
        "p99 beside ms (median)": round(statistics.median(beside) * 1e3, 2),
        "ratio (median of pairs)": round(ratio, 3),
        "difference ms (median of pairs)": round(more_ms, 3),
    }


async def honest(fleet: Fleet, seconds: float) -> float:
    """The p99 of the others in seconds; each of them must be answered."""
    load = Load(fleet.port, PATH, digit_rows(64), CALLERS, rate=RATE * CALLERS)
    load.start()
    await asyncio.sleep(seconds)
    seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    assert not failed, failed[:5]
    return percentile([each.took for each in seen], 0.99)
