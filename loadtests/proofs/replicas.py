"""Replicas that hang or die under load: nobody's request fails, nobody waits long."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from time import monotonic
from typing import Any

from loadtests.caller import Load, Seen, digit_rows
from loadtests.fleet import Fleet, wait_for
from loadtests.proofs.figures import Figures, milliseconds
from loadtests.proofs.flips import PATH

LONGEST_S = 0.5
OUT_S = 2.0
POLL_S = 0.02
EJECTIONS = "pointsman_replica_ejections_total"


def pids(fleet: Fleet) -> dict[int, str]:
    """The processes of the ready replicas, and their ids."""
    found = fleet.status()["replicas"]
    return {replica["pid"]: replica["id"] for replica in found if replica["state"] == "ready"}


def counted(fleet: Fleet, metric: str, *labels: str) -> float:
    """The sum of a metric's series that have all these labels."""
    lines = fleet.control.get("/metrics").text.splitlines()
    rows = [line for line in lines if line.startswith(metric + "{") and all(each in line for each in labels)]
    return sum(float(re.split(r"\s+", row)[-1]) for row in rows)


async def replaced(fleet: Fleet, pid: int, count: int) -> None:
    """Until so many replicas are ready, without the one that had this process."""

    def done() -> bool:
        ready = pids(fleet)
        return len(ready) == count and pid not in ready

    await asyncio.to_thread(wait_for, done, 30)


async def hung(fleet: Fleet, *, rounds: int, rate: float = 150.0) -> Figures:
    """SIGSTOP of one of three replicas under open-loop load: out within 2 s, no answer over 500 ms."""
    load = Load(fleet.port, PATH, digit_rows(), 16, rate=rate)
    load.start()
    await asyncio.sleep(2.0)
    outs = []
    stopped = []
    for number in range(rounds):
        before = await asyncio.to_thread(counted, fleet, EJECTIONS)
        pid, name = min((await asyncio.to_thread(pids, fleet)).items())
        stopped.append(name)
        os.kill(pid, signal.SIGSTOP)
        began = monotonic()
        while await asyncio.to_thread(counted, fleet, EJECTIONS) == before:
            assert monotonic() - began < OUT_S, "not out in time"
            await asyncio.sleep(POLL_S)
        outs.append(monotonic() - began)
        # The agent replaces it meanwhile.
        await replaced(fleet, pid, 3)
        if number + 1 < rounds:
            await asyncio.sleep(1.0)
    seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    slow = [each for each in seen if each.took > LONGEST_S]
    assert not failed, failed[:5]
    assert not slow, slow[:5]
    return {
        "requests": len(seen),
        "failed": 0,
        "hung": rounds,
        "out after s (max)": round(max(outs), 2),
        "requests asked twice": asked_twice(fleet, seen, stopped),
    } | milliseconds([each.took for each in seen], "latency")


def asked_twice(fleet: Fleet, seen: list[Seen], stopped: list[str]) -> int:
    """Requests that were answered by a second replica; each has one record, which lists both."""
    ids = {each.request_id for each in seen}
    found: dict[str, dict[str, Any]] = {}

    def all_there() -> bool:
        records = fleet.records()
        found.clear()
        for record in records:
            assert record["request_id"] not in found, f"two records of {record['request_id']}"
            found[record["request_id"]] = record
        return ids <= set(found)

    wait_for(all_there, 10)
    twice = [found[name] for name in ids if len(found[name]["attempts"]) > 1]
    for record in twice:
        first, last = record["attempts"][0], record["attempts"][-1]
        assert first["replica"] in stopped, record
        assert (first["status"], last["status"]) == (504, 200), record
        assert last["replica"] == record["replica"] != first["replica"], record
    assert twice, "nobody was asked twice: the stopped replica had no work"
    return len(twice)


async def killed(fleet: Fleet, *, kills: int, rate: float = 300.0, passed: str | None = None) -> Figures:
    """kill -9 of one of two replicas under open-loop load: no request fails.

    The load are predictions, or GETs of the path `passed`, which are passed through.
    """
    load = Load(fleet.port, PATH, digit_rows(), 16, rate=rate)
    if passed is not None:
        load = Load(fleet.port, passed, [b""], 16, rate=rate, method="GET")
    load.start()
    await asyncio.sleep(1.0)
    backs = []
    for _ in range(kills):
        pid = min(await asyncio.to_thread(pids, fleet))
        os.kill(pid, signal.SIGKILL)
        began = monotonic()
        await replaced(fleet, pid, 2)
        backs.append(monotonic() - began)
        await asyncio.sleep(0.5)
    seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    assert not failed, failed[:5]
    return {
        "requests": len(seen),
        "failed": 0,
        "kills": kills,
        "another ready after s (max)": round(max(backs), 2),
    } | milliseconds([each.took for each in seen], "latency")
