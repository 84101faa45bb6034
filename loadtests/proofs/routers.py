"""Routers that stand still or die: changes name them, nothing unmarked is old, no answered request is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from time import monotonic

import httpx

from loadtests.caller import Caller, Load, Seen, digit_rows
from loadtests.fleet import Fleet
from loadtests.proofs.figures import Figures
from loadtests.proofs.flips import PATH

POLL_S = 0.05


async def paused(fleet: Fleet, *, seconds: float) -> Figures:
    """SIGSTOPs one router, promotes, wakes it: the change names it, and what it says then is new or marked."""
    (body,) = digit_rows(1)
    fleet.promote("digits", "1")
    callers = await one_caller_a_router(fleet, body)
    victim = fleet.status()["routers"][0]
    pending: list[asyncio.Task[Seen]] = []
    os.kill(victim["pid"], signal.SIGSTOP)
    try:
        began = monotonic()
        answer = await asyncio.to_thread(fleet.promote, "digits", "2")
        refused_after = monotonic() - began
        assert answer["status"] == 202, answer
        laggards = [each["id"] for each in answer["routers"]["laggards"]]
        assert laggards == [victim["id"]], answer
        # These reach the stopped router's sockets while it sleeps; it reads them before anything else.
        pending = [asyncio.ensure_future(caller.call(body)) for caller in callers]
        await asyncio.sleep(max(0.0, seconds - (monotonic() - began)))
    finally:
        os.kill(victim["pid"], signal.SIGCONT)
    seen = [await task for task in pending]
    for _ in range(20):
        seen += await asyncio.gather(*[caller.call(body) for caller in callers])
    for caller in callers:
        caller.close()
    unmarked_old = [each for each in seen if each.version != "2" and not each.stale]
    failed = [each for each in seen if each.status != 200]
    assert not unmarked_old, unmarked_old
    assert not failed, failed
    end = monotonic() + 10
    while monotonic() < end and fleet.promote("digits", "2")["status"] != 200:
        await asyncio.sleep(POLL_S)
    assert fleet.promote("digits", "1")["status"] == 200
    return {
        "stopped s": seconds,
        "named in the 202": laggards[0],
        "202 after s": round(refused_after, 2),
        "answers after SIGCONT": len(seen),
        "old and unmarked": 0,
    }


async def one_caller_a_router(fleet: Fleet, body: bytes) -> list[Caller]:
    """Open connections until every router holds some; which router has which is the system's choice."""
    callers = [Caller(fleet.port, PATH) for _ in range(64)]
    await asyncio.gather(*[caller.call(body) for caller in callers])
    return callers


async def killed(fleet: Fleet, requests: int, *, kills: int = 2, callers: int = 16) -> Figures:
    """kill -9 of a router under load: every complete answer is in the log exactly once."""
    load = Load(fleet.port, PATH, digit_rows(), callers)
    began = monotonic()
    load.start(requests)
    restarts = []
    for number in range(kills):
        while len(load.seen) < requests * (number + 1) / (kills + 1):
            await asyncio.sleep(POLL_S)
        routers = fleet.status()["routers"]
        os.kill(routers[number % len(routers)]["pid"], signal.SIGKILL)
        restarts.append(await back(fleet, len(routers), routers[number % len(routers)]["pid"]))
    seen = await load.finished()
    took = monotonic() - began
    return account(fleet, seen) | {
        "kills": kills,
        "rps": round(len(seen) / took),
        "router back after s (max)": round(max(restarts), 2),
    }


async def killed_at_random(
    fleet: Fleet, kills: int, *, rate: float = 600.0, callers: int = 16, seed: int = 20261124
) -> Figures:
    """kill -9 of routers at random points under open-loop load: every answer is in the log exactly once."""
    dice = random.Random(seed)
    load = Load(fleet.port, PATH, digit_rows(), callers, rate=rate)
    load.start()
    restarts = []
    for _ in range(kills):
        await asyncio.sleep(dice.uniform(0.0, 0.6))
        routers = (await asyncio.to_thread(fleet.status))["routers"]
        victim = dice.choice(routers)
        os.kill(victim["pid"], signal.SIGKILL)
        restarts.append(await back(fleet, len(routers), victim["pid"]))
    seen = await load.stop()
    unanswered = [each for each in seen if each.status == 0]
    assert not [each for each in seen if each.status not in (0, 200)]
    # A caller's exchange breaks at most once with each kill.
    assert len(unanswered) <= callers * kills, len(unanswered)
    return account(fleet, seen) | {"kills": kills, "router back after s (max)": round(max(restarts), 2)}


async def back(fleet: Fleet, count: int, gone: int) -> float:
    """Seconds until as many routers as before serve again, without the one that is gone."""
    began = monotonic()
    while True:
        status = await asyncio.to_thread(fleet.status)
        pids = {each["pid"] for each in status["routers"] if each["state"] == "serving"}
        if len(pids) == count and gone not in pids:
            return monotonic() - began
        assert monotonic() - began < 30, status["routers"]
        await asyncio.sleep(POLL_S)


def account(fleet: Fleet, seen: list[Seen]) -> Figures:
    """Holds what the callers saw against the log: nothing missing, nothing twice by record id."""
    answered = {each.request_id: each for each in seen if each.status}
    records = settled(fleet, answered.keys())
    ids = Counter(record["record_id"] for record in records)
    by_request = {record["request_id"]: record for record in records}
    missing = answered.keys() - by_request.keys()
    twice = [record_id for record_id, number in ids.items() if number > 1]
    differing = [
        request_id
        for request_id, each in answered.items()
        if request_id in by_request
        and (by_request[request_id]["version"] or "", by_request[request_id]["status"])
        != (each.version, each.status)
    ]
    assert not missing, (len(missing), sorted(missing)[:5])
    assert not twice, twice[:5]
    assert not differing, differing[:5]
    return {
        "sent": len(seen),
        "answered": len(answered),
        "failed in flight": len(seen) - len(answered),
        "answered and not stored": len(missing),
        "twice by record id": len(twice),
    }


def settled(fleet: Fleet, wanted: object) -> list[dict[str, object]]:
    """All records, read until the last answers are visible (2 s by contract; 5 s here before giving up)."""
    end = monotonic() + 5
    while True:
        records = fleet.records()
        found = {record["request_id"] for record in records}
        if wanted <= found or monotonic() > end:  # type: ignore[operator]
            return records


async def new_connections_during_kills(fleet: Fleet, kills: int) -> Figures:
    """Opens a new connection for every request while routers are killed: none may be refused."""
    (body,) = digit_rows(1)
    refused: list[Seen] = []
    done = 0
    stop = asyncio.Event()

    async def knock() -> None:
        nonlocal done
        while not stop.is_set():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", fleet.port)
                writer.close()
            except OSError as error:
                refused.append(Seen(monotonic(), 0, 0, error=str(error)))
            done += 1
            await asyncio.sleep(0.005)

    tasks = [asyncio.ensure_future(knock()) for _ in range(4)]
    for _ in range(kills):
        routers = fleet.status()["routers"]
        os.kill(routers[0]["pid"], signal.SIGKILL)
        await back(fleet, len(routers), routers[0]["pid"])
    stop.set()
    await asyncio.gather(*tasks)
    assert not refused, refused[:3]
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{fleet.data}{PATH}", content=body)
    assert answer.status_code == 200
    return {"kills": kills, "connections": done, "refused": len(refused)}
