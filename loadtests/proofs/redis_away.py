"""Redis that stands still or is gone: predictions go on, changes are refused, everything recovers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import httpx

from loadtests.caller import Load, digit_rows
from loadtests.fleet import Fleet
from loadtests.proofs.figures import Figures, milliseconds
from loadtests.proofs.flips import PATH
from loadtests.proofs.routers import account

FRESH_S = 5.0  # after Redis is back, how long until answers are unmarked and changes work
CHECK_EVERY_S = 5.0


async def away(
    fleet: Fleet,
    take: Callable[[], Any],
    give_back: Callable[[], Any],
    *,
    seconds: float,
    rate: float = 300.0,
) -> Figures:
    """Under open-loop load: `take` Redis away for `seconds`, try a change meanwhile, `give_back`, and wait."""
    fleet.promote("digits", "1")
    load = Load(fleet.port, PATH, digit_rows(), 8, rate=rate)
    load.start()
    await asyncio.sleep(2)
    await asyncio.to_thread(take)
    gone_at = monotonic()
    refusals = []
    while monotonic() - gone_at < seconds:
        await asyncio.sleep(min(CHECK_EVERY_S, seconds / 2))
        answer = await change(fleet, "2")
        assert answer.status_code == 503, answer.text
        assert "retry-after" in answer.headers
        refusals.append(answer.elapsed.total_seconds())
    await asyncio.to_thread(give_back)
    back_at = monotonic()
    while (answer := await change(fleet, "2")).status_code != 200:
        assert monotonic() - back_at < FRESH_S + 25, answer.text
        await asyncio.sleep(0.1)
    recovered = monotonic() - back_at
    await asyncio.sleep(1)
    seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    assert not failed, failed[:5]
    stale = [each for each in seen if each.stale]
    late_stale = [each for each in stale if each.sent > back_at + recovered]
    assert not late_stale, late_stale[:3]
    if seconds > 5:
        assert stale, "no answer was marked stale while Redis was away"
    during = [each.took for each in seen if gone_at <= each.sent < back_at]
    before = [each.took for each in seen if each.sent < gone_at]
    return (
        {
            "away s": seconds,
            "failed predictions": len(failed),
            "marked stale": len(stale),
            "changes refused (503)": len(refusals),
            "refused after s (max)": round(max(refusals), 2),
            "change works again after s": round(recovered, 2),
        }
        | milliseconds(before, "before")
        | milliseconds(during, "during")
        | account(fleet, seen)
    )


async def change(fleet: Fleet, version: str) -> httpx.Response:
    """One attempt to promote, off the loop: the load must not wait for it."""
    return await asyncio.to_thread(fleet.control.post, "/models/digits/promote", json={"version": version})
