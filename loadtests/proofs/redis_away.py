"""Redis that stands still or is gone: predictions go on, changes are refused, everything recovers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import httpx

from loadtests.caller import Load, Seen, digit_rows
from loadtests.fleet import Fleet, wait_for
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


def dead_start(fleet: Fleet, kill: Callable[[], Any], start: Callable[[], Any]) -> Figures:
    """`up` starts with Redis dead: it serves the last good table, marked; with Redis back all is as before."""
    fleet.promote("digits", "2")
    assert fleet.stop() == 0
    kill()
    took = fleet.start()
    bodies = digit_rows(200)
    seen = asyncio.run(some(fleet, bodies))
    assert {(each.status, each.version, each.stale) for each in seen} == {(200, "2", True)}, seen[:3]
    refused = fleet.control.post("/models/digits/promote", json={"version": "1"})
    assert refused.status_code == 503, refused.text
    start()
    back_at = monotonic()
    wait_for(lambda: fleet.promote("digits", "1")["status"] == 200, 30, fleet.tail)
    recovered = monotonic() - back_at
    # A router that started alone is known from its first acknowledgement on; until then its answers are marked.
    while True:
        seen = asyncio.run(some(fleet, bodies))
        assert all(each.status == 200 and (each.version == "1" or each.stale) for each in seen), seen[:3]
        if not any(each.stale for each in seen):
            break
        assert monotonic() - back_at < FRESH_S, "still stale"
    fresh = monotonic() - back_at
    history = fleet.ask("GET", "/models/digits/history")["history"]
    assert [entry["action"] for entry in history] == ["promote"] * 3, history
    return {
        "ready with Redis dead after s": round(took, 2),
        "change works again after s": round(recovered, 2),
        "unmarked after s": round(fresh, 2),
    }


async def some(fleet: Fleet, bodies: list[bytes]) -> list[Seen]:
    """One request a body."""
    load = Load(fleet.port, PATH, bodies, 4)
    load.start(len(bodies))
    return await load.finished()
