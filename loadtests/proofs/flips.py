"""Flips under load: no failed request, nothing answered by the old version after a flip's 200."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from time import monotonic

import httpx

from loadtests.caller import Load, Seen, digit_rows
from loadtests.fleet import Fleet
from loadtests.proofs.figures import Figures, milliseconds, percentile

PATH = "/v1/models/digits:predict"
CALIBRATE_S = 3.0


async def capacity(port: int, bodies: list[bytes], callers: int) -> float:
    """Requests a second that this many callers get when they do not wait."""
    load = Load(port, PATH, bodies, callers)
    load.start()
    await asyncio.sleep(CALIBRATE_S)
    return len(await load.stop()) / CALIBRATE_S


async def flips(fleet: Fleet, count: int, *, load_share: float = 0.5, callers: int = 8) -> Figures:
    """Promotes versions 1 and 2 of digits in turn, `count` times, under open-loop load.

    Every probe that was sent after a flip's 200 must carry at least that flip's epoch, and the version that
    its epoch's route names.
    """
    bodies = digit_rows()
    full = await capacity(fleet.port, bodies, callers)
    background = Load(fleet.port, PATH, bodies, callers, rate=full * load_share)
    probe = Load(fleet.port, PATH, bodies, 1)
    background.start()
    probe.start()
    applied: list[tuple[float, int]] = []  # when the 200 was here, and its epoch
    routes: dict[int, str] = {}
    took: list[float] = []
    async with httpx.AsyncClient(
        base_url=str(fleet.control.base_url), headers=fleet.control.headers
    ) as client:
        for number in range(count):
            version = "2" if number % 2 == 0 else "1"
            answer = await client.post("/models/digits/promote", json={"version": version}, timeout=10)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            applied.append((monotonic(), told["epoch"]))
            routes[told["epoch"]] = version
            took.append(told["took_ms"] / 1e3)
    seen = await background.stop() + await probe.stop()
    failed = [each for each in seen if each.status != 200]
    late = old_answers(seen, applied, routes)
    epochs = [epoch for _, epoch in applied]
    assert not failed, failed[:5]
    assert not late, late[:5]
    assert epochs == sorted(set(epochs)), "epochs do not grow"
    figures: Figures = {
        "flips": count,
        "requests": len(seen),
        "failed": len(failed),
        "old answers after the 200": len(late),
        "load rps": round(full * load_share),
        "capacity rps": round(full),
        "took_ms p50": round(percentile(took, 0.5) * 1e3, 2),
        "took_ms p99": round(percentile(took, 0.99) * 1e3, 2),
        "took_ms max": round(max(took) * 1e3, 2),
    }
    return figures | milliseconds([each.took for each in seen], "latency")


def old_answers(seen: list[Seen], applied: list[tuple[float, int]], routes: dict[int, str]) -> list[Seen]:
    """Answers by an older route than the last one that was applied when they were sent, or by a wrong version."""
    times = [time for time, _ in applied]
    wrong = []
    for each in seen:
        position = bisect_right(times, each.sent) - 1
        if each.status != 200 or each.stale:
            continue
        older = position >= 0 and each.epoch < applied[position][1]
        if older or routes.get(each.epoch, each.version) != each.version:
            wrong.append(each)
    return wrong


async def splits(fleet: Fleet, keys: int) -> Figures:
    """A split of 90/10 over sticky keys, then 80/10/10 → 70/10/20: shares, and who moved."""
    fleet.promote("digits", "1")
    shares = await assignments(fleet, {"1": 90, "2": 10}, keys)
    share = sum(version == "2" for version in shares.values()) / keys
    before = await assignments(fleet, {"1": 80, "2": 10, "3": 10}, keys)
    after = await assignments(fleet, {"1": 70, "2": 10, "3": 20}, keys)
    moves = {(before[key], after[key]) for key in before if before[key] != after[key]}
    moved = sum(before[key] != after[key] for key in before) / keys
    # ±1 point; with fewer keys than 20,000 chance alone is wider (4.5 standard deviations).
    tolerance = max(0.01, 4.5 * (0.1 * 0.9 / keys) ** 0.5)
    assert abs(share - 0.10) < tolerance, share
    assert moves == {("1", "3")}, moves
    assert abs(moved - 0.10) < tolerance, moved
    return {
        "keys": keys,
        "share of the 10 %": round(share, 4),
        "moved by 80/10/10 → 70/10/20": round(moved, 4),
    }


async def assignments(fleet: Fleet, weights: dict[str, int], keys: int) -> dict[str, str]:
    """The version each sticky key gets under these weights."""
    from loadtests.caller import Caller

    fleet.ask("POST", "/models/digits/split", json={"weights": weights})
    (body,) = digit_rows(1)
    found: dict[str, str] = {}

    async def some(numbers: range) -> None:
        caller = Caller(fleet.port, PATH)
        for number in numbers:
            seen = await caller.call(body, {"x-routing-key": f"user-{number}"})
            assert (seen.status, seen.reason) == (200, "sticky"), seen
            found[f"user-{number}"] = seen.version
        caller.close()

    await asyncio.gather(*[some(range(start, keys, 8)) for start in range(8)])
    return found
