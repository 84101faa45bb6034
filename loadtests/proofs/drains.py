"""What goes away in order, or dies and has a stand-in, under open-loop load: no request fails."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

import redis

from loadtests.caller import Load, Seen, digit_rows
from loadtests.fleet import Fleet, alive, wait_for
from loadtests.proofs.figures import Figures, milliseconds
from loadtests.proofs.flips import PATH
from loadtests.proofs.replicas import pids, replaced
from loadtests.proofs.routers import account, back
from router.agent.place import runtime_dir

CALLERS = 16
RATE = 300.0
AGENT_S = 30.0


async def under_load(fleet: Fleet, act: Callable[[], Awaitable[None]]) -> tuple[list[Seen], Figures]:
    """What callers with kept connections saw from a second before `act` to a second after; none may fail."""
    load = Load(fleet.port, PATH, digit_rows(), CALLERS, rate=RATE)
    load.start()
    await asyncio.sleep(1)
    try:
        await act()
        await asyncio.sleep(1)
    finally:
        seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    assert not failed, (len(failed), failed[:5])
    figures: Figures = {"requests": len(seen), "failed": 0}
    figures |= milliseconds([each.took for each in seen], "latency")
    told = account(fleet, seen)
    return seen, figures | {key: told[key] for key in ("answered and not stored", "twice by record id")}


async def routers(fleet: Fleet, *, rounds: int) -> Figures:
    """SIGTERM of one of the routers; the other has the connections, a new one comes."""
    backs: list[float] = []

    async def act() -> None:
        for _ in range(rounds):
            found = (await asyncio.to_thread(fleet.status))["routers"]
            os.kill(found[0]["pid"], signal.SIGTERM)
            backs.append(await back(fleet, len(found), found[0]["pid"]))
            await asyncio.sleep(0.5)

    _, figures = await under_load(fleet, act)
    return {"drained": rounds, **figures, "another serves after s (max)": round(max(backs), 2)}


async def sole_replica(fleet: Fleet, *, kills: int) -> Figures:
    """kill -9 of the only replica of the active version; the previous one is warm beside it."""
    assert fleet.promote("digits", "2")["status"] == 200
    backs: list[float] = []

    async def act() -> None:
        for _ in range(kills):
            replicas = (await asyncio.to_thread(fleet.status))["replicas"]
            (pid,) = [each["pid"] for each in replicas if (each["state"], each["version"]) == ("ready", "2")]
            os.kill(pid, signal.SIGKILL)
            began = monotonic()
            await replaced(fleet, pid, 2)
            backs.append(monotonic() - began)
            await asyncio.sleep(0.5)

    seen, figures = await under_load(fleet, act)
    others = [each for each in seen if each.reason == "fallback"]
    assert {each.version for each in others} == {"1"}, "nobody needed the previous version: nothing is proven"
    assert all(each.version == "2" for each in seen if each.reason != "fallback")
    return {
        "kills": kills,
        **figures,
        "answered by the previous version": len(others),
        "ready again after s (max)": round(max(backs), 2),
    }


async def restarts(fleet: Fleet, *, rounds: int) -> Figures:
    """The three commands, as an operator gives them."""
    steps = 0

    async def act() -> None:
        nonlocal steps
        for _ in range(rounds):
            for what in ("routers", "replicas", "agent"):
                done = await asyncio.to_thread(fleet.cli, "restart", what, "--json")
                assert done.returncode == 0, done.stdout + done.stderr
                told = json.loads(done.stdout)["restart"]
                assert (told["state"], told["error"]) == ("done", None), told
                steps += len(told["steps"])

    before = {each["pid"] for each in fleet.status()["routers"]} | set(pids(fleet))
    _, figures = await under_load(fleet, act)
    left = [pid for pid in before if alive(pid)]
    assert not left, left
    return {"commands": 3 * rounds, "processes replaced": steps, **figures}


async def agent(fleet: Fleet, *, kills: int) -> Figures:
    """kill -9 of the agent; the replicas are the same before and after."""
    before = pids(fleet)
    adopted = adoptions(fleet)
    backs: list[float] = []

    async def act() -> None:
        for number in range(1, kills + 1):
            pid = (await asyncio.to_thread(fleet.status))["agent"]["pid"]
            os.kill(pid, signal.SIGKILL)
            began = monotonic()
            await asyncio.to_thread(
                wait_for, partial(_adopted, fleet, adopted + number * len(before)), AGENT_S, fleet.tail
            )
            backs.append(monotonic() - began)

    _, figures = await under_load(fleet, act)
    assert pids(fleet) == before
    return {
        "kills": kills,
        **figures,
        "replicas kept": len(before),
        "taken over after s (max)": round(max(backs), 2),
    }


def _adopted(fleet: Fleet, count: int) -> bool:
    return adoptions(fleet) >= count


def adoptions(fleet: Fleet) -> int:
    """Replicas that an agent took over from the one before it."""
    return (fleet.data_dir / "logs" / "agent.log").read_text().count('"replica_adopted"')


@contextmanager
def deaf(fleet: Fleet, seed: int = 20261124) -> Iterator[None]:
    """While the context lasts, subscriptions to the embedded Redis are killed at random moments."""
    over, dice, killed = threading.Event(), random.Random(seed), []
    client = redis.Redis(unix_socket_path=str(runtime_dir(fleet.data_dir.resolve()) / "redis.sock"))

    def kill() -> None:
        while not over.wait(dice.uniform(0.01, 0.2)):
            killed.append(int(client.client_kill_filter(_type="pubsub")))

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        client.close()
    assert sum(killed) > 0, "there was no subscription to kill"
