"""Redis fails over, falls back or forgets, under load: no prediction fails, no confirmed change is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from loadtests.caller import Load, Seen, digit_rows
from loadtests.fleet import Fleet, wait_for
from loadtests.proofs.figures import Figures, milliseconds
from loadtests.proofs.flips import PATH
from loadtests.proofs.redis_away import change
from loadtests.proofs.routers import account
from loadtests.redis_servers import ClusterServers, Sentinels, Server

EVERY_S = 0.2  # between two changes
OUTAGE_S = 20.0  # a change must work again within this
WHOLE_S = 40.0  # for sentinels to take a returning server in


@dataclass(frozen=True, slots=True)
class Made:
    """A change that was answered: sent and answered when, by what status, and its epoch."""

    sent: float
    done: float
    status: int
    epoch: int


class Changes:
    """Promotes one version and the other in turn, until stopped."""

    def __init__(self, fleet: Fleet) -> None:
        self.made: list[Made] = []
        self._fleet = fleet
        self._stop = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> list[Made]:
        """Everything that was answered."""
        self._stop.set()
        await self._task
        return self.made

    async def works(self, since: float) -> float:
        """Seconds from `since` until a change that was sent later was answered with 200 or 202."""
        while True:
            for each in self.made:
                if each.sent > since and each.status in (200, 202):
                    return each.done - since
            assert monotonic() - since < OUTAGE_S, [each.status for each in self.made[-10:]]
            await asyncio.sleep(0.01)

    async def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            sent = monotonic()
            answer = await change(self._fleet, "12"[number % 2])
            body = answer.json()
            self.made.append(Made(sent, monotonic(), answer.status_code, body.get("epoch", 0)))
            number += answer.status_code in (200, 202)
            await asyncio.sleep(max(0.0, EVERY_S - (monotonic() - sent)))


async def over(
    fleet: Fleet, primary: Callable[[], Server], whole: Callable[[], Any], *, rounds: int, rate: float = 300.0
) -> Figures:
    """In each round the primary is killed, in every third it hangs and comes back; then it joins again."""
    load = Load(fleet.port, PATH, digit_rows(), 8, rate=rate)
    load.start()
    changes = Changes(fleet)
    outages = []
    for number in range(rounds):
        await asyncio.sleep(2)
        lost = await asyncio.to_thread(primary)
        hangs = number % 3 == 2
        gone_at = monotonic()
        lost.signal(signal.SIGSTOP) if hangs else await asyncio.to_thread(lost.kill)
        outages.append(await changes.works(gone_at))
        await asyncio.sleep(2)
        lost.signal(signal.SIGCONT) if hangs else await asyncio.to_thread(lost.start)
        if number + 1 < rounds:
            await asyncio.to_thread(wait_for, whole, WHOLE_S)
    made = await changes.stop()
    seen = await load.stop()
    return judged(fleet, made, seen) | {
        "fail-overs": rounds,
        "changes away s (max)": round(max(outages), 2),
    }


def judged(fleet: Fleet, made: list[Made], seen: list[Seen]) -> Figures:
    """No failed prediction; every change with a 200 is in the history; nothing older than a 200 after it."""
    failed = [each for each in seen if each.status != 200]
    assert not failed, failed[:5]
    confirmed = [each for each in made if each.status == 200]
    history = epochs(fleet)
    assert history == sorted(set(history)), "two changes share an epoch, or one went back"
    lost = {each.epoch for each in confirmed} - set(history)
    assert not lost, (lost, history[-20:])
    older = regressions(confirmed, seen)
    assert not older, older[:5]
    statuses = [each.status for each in made]
    return (
        {
            "failed predictions": len(failed),
            "changes confirmed (200)": len(confirmed),
            "not confirmed (202)": statuses.count(202),
            "refused (503)": statuses.count(503),
            "confirmed and lost": len(lost),
            "epoch regressions": len(older),
            "marked stale": sum(each.stale for each in seen),
        }
        | milliseconds([each.took for each in seen], "latency")
        | account(fleet, seen)
    )


def regressions(confirmed: list[Made], seen: list[Seen]) -> list[Seen]:
    """Unmarked answers, sent after a change was confirmed, by an older route than its."""
    ordered = sorted(confirmed, key=lambda each: each.done)
    found, at, newest = [], 0, 0
    for each in seen:
        while at < len(ordered) and ordered[at].done < each.sent:
            newest = max(newest, ordered[at].epoch)
            at += 1
        if each.epoch < newest and not each.stale:
            found.append(each)
    return found


def epochs(fleet: Fleet) -> list[int]:
    """The epochs of every change in the history, in its order."""
    found: list[int] = []
    cursor: str | None = None
    while True:
        params = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
        page = fleet.ask("GET", "/models/digits/history", params=params)
        found += [entry["epoch"] for entry in page["history"]]
        cursor = page["next"]
        if cursor is None:
            return found


async def fallen_back(fleet: Fleet, server: Server, *, rate: float = 300.0) -> Figures:
    """Redis is restored from a backup, then flushed: routers go on, and `registry restore` brings it all back."""
    saved = await asyncio.to_thread(server.backup)
    fleet.promote("digits", "2")
    load = Load(fleet.port, PATH, digit_rows(), 8, rate=rate)
    load.start()
    taken = []
    for lose in (lambda: server.put_back(saved), server.client.flushall):
        newest = fleet.ask("GET", "/models/digits")["route"]
        await asyncio.to_thread(lose)
        await asyncio.to_thread(wait_for, lambda: lost_routes(fleet) > 0, 10)
        began = monotonic()
        done = await asyncio.to_thread(fleet.cli, "registry", "restore", "--reason", "proof")
        assert done.returncode == 0, done.stderr
        await asyncio.to_thread(wait_for, lambda: lost_routes(fleet) == 0, 10)
        taken.append(monotonic() - began)
        after = fleet.ask("GET", "/models/digits")["route"]
        assert (after["active"], after["epoch"] > newest["epoch"]) == ("2", True), after
        await asyncio.to_thread(wait_for, lambda: fleet.promote("digits", "2")["status"] == 200, 10)
    seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    assert not failed, failed[:5]
    assert {each.version for each in seen} == {"2"}, "an older route was served"
    return {
        "failed predictions": 0,
        "answers by an older route": 0,
        "restored after s (max)": round(max(taken), 2),
    } | account(fleet, seen)


def lost_routes(fleet: Fleet) -> float:
    """The gauge of the same name, of all routers."""
    text = fleet.control.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("pointsman_router_routes_lost{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def sentinel_over(fleet: Fleet, sentinels: Sentinels, rounds: int) -> Figures:
    """Two servers, three sentinels."""
    return asyncio.run(over(fleet, sentinels.primary, sentinels.whole, rounds=rounds))


def cluster_over(fleet: Fleet, cluster: ClusterServers, rounds: int) -> Figures:
    """The primary of the slot of the control state."""
    owner: Callable[[], Server] = lambda: cluster.owner("{pm}:revision")  # noqa: E731
    return asyncio.run(over(fleet, owner, cluster.whole, rounds=rounds))
