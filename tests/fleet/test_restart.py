"""Restarts as commands, and what hangs or dies by itself, under load on a whole installation: nobody notices."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from loadtests.caller import Load, Seen
from loadtests.fleet import Fleet, alive, wait_for

pytestmark = pytest.mark.fleet

PATH = "/v1/models/digits:predict"
BODY = orjson.dumps({"instances": [[0.0] * 64]})
RATE = 200.0


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two routers, one replica of digits 1."""
    made = Fleet(routers=2)
    try:
        made.start()
        made.release("digits", "1")
        assert made.promote("digits", "1")["status"] == 200
        yield made
    finally:
        made.remove()


def under_load(fleet: Fleet, act: Callable[[], None]) -> list[Seen]:
    """What callers with kept connections saw from a moment before `act` to a moment after."""

    async def run() -> list[Seen]:
        load = Load(fleet.port, PATH, [BODY], callers=8, rate=RATE)
        load.start()
        while len(load.seen) < 50:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(act)
        enough = len(load.seen) + 50
        while len(load.seen) < enough:
            await asyncio.sleep(0.01)
        return await load.stop()

    return asyncio.run(run())


def failed(seen: list[Seen]) -> list[Seen]:
    assert len(seen) >= 100
    return [each for each in seen if each.status != 200]


def restarted(fleet: Fleet, *words: str) -> list[dict[str, Any]]:
    """The steps of a restart by the command line."""
    done = fleet.cli("restart", *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr + fleet.tail()
    found: dict[str, Any] = json.loads(done.stdout)["restart"]
    assert (found["state"], found["error"]) == ("done", None)
    steps: list[dict[str, Any]] = found["steps"]
    assert all(step["clean"] for step in steps)
    return steps


def replica_of(fleet: Fleet) -> dict[str, Any]:
    (found,) = [r for r in fleet.status()["replicas"] if r["state"] == "ready"]
    return dict(found)


def ready_ids(fleet: Fleet) -> list[str]:
    return [each["id"] for each in fleet.status()["replicas"] if each["state"] == "ready"]


def test_routers_one_by_one(fleet: Fleet) -> None:
    before = {each["id"]: each["pid"] for each in fleet.status()["routers"]}
    steps: list[dict[str, Any]] = []
    assert not failed(under_load(fleet, lambda: steps.extend(restarted(fleet, "routers"))))
    assert {step["old"] for step in steps} == set(before)
    assert {each["id"] for each in fleet.status()["routers"]} == {step["new"] for step in steps}
    assert not [pid for pid in before.values() if alive(pid)]


def test_the_only_replica_by_another(fleet: Fleet) -> None:
    before = replica_of(fleet)
    steps: list[dict[str, Any]] = []
    assert not failed(under_load(fleet, lambda: steps.extend(restarted(fleet, "replicas", "digits", "1"))))
    after = replica_of(fleet)
    assert [(step["name"], step["old"], step["new"]) for step in steps] == [
        ("digits 1", before["id"], after["id"])
    ]
    assert not alive(before["pid"])


@pytest.mark.parametrize("way", ["restart", "kill -9"])
def test_the_agent_and_the_replicas_stay(fleet: Fleet, way: str) -> None:
    before = replica_of(fleet)
    agent = fleet.status()["agent"]["pid"]
    log = fleet.data_dir / "logs" / "agent.log"
    adopted = log.read_text().count('"replica_adopted"')

    def act() -> None:
        if way == "restart":
            (step,) = restarted(fleet, "agent")
            assert step["old"] == str(agent)
        else:
            os.kill(agent, signal.SIGKILL)
        wait_for(lambda: (fleet.status()["agent"] or {"pid": agent})["pid"] != agent, 10)
        wait_for(lambda: log.read_text().count('"replica_adopted"') == adopted + 1, 10, fleet.tail)

    assert not failed(under_load(fleet, act))
    assert replica_of(fleet) == before
    assert alive(before["pid"])


def test_one_restart_at_a_time_and_its_progress(fleet: Fleet) -> None:
    began = fleet.ask("POST", "/restart", json={"what": "routers"})["restart"]
    again = fleet.control.post("/restart", json={"what": "agent"})
    assert (again.status_code, again.json()["code"]) == (409, "restart_running")
    refused = fleet.cli("restart", "agent", "--json")
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (1, "restart_running")
    wait_for(lambda: fleet.ask("GET", "/restart")["restart"]["state"] != "running", 20)
    ended = fleet.ask("GET", "/restart")["restart"]
    assert (ended["id"], ended["state"], len(ended["steps"])) == (began["id"], "done", 2)
    for body, code in (
        ({"what": "routers", "model": "digits"}, "bad_input"),
        ({"what": "replicas", "version": "1"}, "bad_input"),
        ({"what": "replicas", "model": "nobody"}, "unknown_model"),
        ({"what": "replicas", "model": "digits", "version": "9"}, "unknown_version"),
    ):
        answer = fleet.control.post("/restart", json=body)
        assert (answer.status_code // 100, answer.json()["code"]) == (4, code)


def test_a_stopped_replica_is_replaced(fleet: Fleet, record_property: Callable[[str, object], None]) -> None:
    before = replica_of(fleet)
    began = time.monotonic()
    os.kill(before["pid"], signal.SIGSTOP)
    wait_for(lambda: not alive(before["pid"]), 5)
    killed = time.monotonic() - began
    wait_for(lambda: ready_ids(fleet) not in ([], [before["id"]]), 20)
    record_property("SIGSTOP to killed s", round(killed, 2))
    record_property("SIGSTOP to replaced s", round(time.monotonic() - began, 2))
    after = replica_of(fleet)
    assert before["id"] in after["replaced"]
    assert "stopped" in after["replaced"]
    assert killed < 2.5
    metrics = fleet.control.get("/metrics").text
    assert 'pointsman_replicas_lost_total{model="digits",reason="hung",version="1"} 1.0' in metrics
