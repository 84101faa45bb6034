"""A real agent, a real Redis and real replicas: what is asked for runs, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from router.agent import agent as agents
from router.agent import leftovers, probe
from router.agent.agent import Agent
from router.agent.place import Place
from router.agent.plan import LOADS
from router.documents import Replica, ReplicaState, RouterLease
from router.halt import halt
from router.registry.connection import connect
from router.registry.registry import Registry
from router.settings import Settings
from tests.agent.conftest import Server, Stored
from tests.agent.waiting import alive, soon
from tests.agent.wishes import NODE, TESTER

KEY = ("m", "1")


class Stage:
    """An agent in this process; `files` shows what routers see while Redis is away."""

    def __init__(self, server: Server, place: Place, stored: Stored) -> None:
        self.server = server
        self.place = place
        self.document = stored.document
        self.life, self.life_end = os.pipe()
        self.registry = Registry(connect(server.embedded.url))
        self.tasks: list[asyncio.Task[None]] = []
        self.agent = self.start()

    def start(self, **others: Any) -> Agent:
        """One more agent; end the one before first."""
        settings = Settings(data_dir=self.place.data_dir, poll_ms=100, replica_start_timeout_s=20, **others)
        registry = Registry(connect(self.server.embedded.url))
        self.agent = Agent(settings, self.place, NODE, registry, self.life)
        self.tasks.append(asyncio.create_task(self._run(self.agent, registry)))
        return self.agent

    @staticmethod
    async def _run(agent: Agent, registry: Registry) -> None:
        try:
            await agent.run()
        finally:
            await registry.close()

    def files(self, state: ReplicaState = "ready") -> list[dict[str, Any]]:
        found = orjson.loads(self.place.replicas.read_bytes())["replicas"]
        return [each for each in found if each["state"] == state]

    async def listed(self, wanted: Callable[[list[Replica]], bool], timeout: float = 20) -> list[Replica]:
        """The replicas in the registry, as soon as they are as wanted."""
        async with asyncio.timeout(timeout):
            while True:
                with contextlib.suppress(*agents.AWAY):
                    found = list((await self.registry.model_state("m")).replicas)
                    if wanted(found):
                        return found
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        self.agent.stop()
        await asyncio.gather(*self.tasks)
        await self.registry.close()
        os.close(self.life)
        os.close(self.life_end)


Scene = Callable[[Stage], Awaitable[None]]
Play = Callable[[Scene], None]


def ready(number: int) -> Callable[[list[Replica]], bool]:
    return lambda found: [each.state for each in found] == ["ready"] * number


@pytest.fixture
def play(server: Server, place: Place, stored: Stored) -> Play:
    shutil.copytree(stored.folder, place.bentoml, dirs_exist_ok=True)

    async def run(scene: Scene) -> None:
        stage = Stage(server, place, stored)
        await stage.registry.add_version(stored.document, TESTER)
        try:
            await scene(stage)
        finally:
            await stage.close()
        leftovers.reap(set())  # adopted ones are not reaped by the agent: `up` does that
        assert not list(leftovers.orphans(set()))

    return lambda scene: asyncio.run(run(scene))


def test_deploy_crash_scale_undeploy(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.registry.deploy(*KEY, 1, TESTER)
        await stage.listed(lambda found: [each.state for each in found] == ["starting"])
        (first,) = await stage.listed(ready(1))
        assert first.digest == stage.document["digest"]
        assert await probe.status(first.address, "/readyz", 2) == 200
        assert stage.files()[0]["id"] == first.id
        environment = psutil.Process(first.pid).environ()
        assert environment["BENTOML_HOME"] == str(stage.place.bentoml)
        assert environment["OMP_NUM_THREADS"] == "1"
        assert not [name for name in environment if name.startswith("POINTSMAN_")]

        os.kill(first.pid, signal.SIGKILL)
        await stage.listed(lambda found: first.id not in [each.id for each in found], 1)
        (second,) = await stage.listed(ready(1))
        assert second.id != first.id

        await stage.registry.deploy(*KEY, 2, TESTER)
        both = await stage.listed(ready(2))
        await stage.registry.deploy(*KEY, 1, TESTER)
        assert await stage.listed(ready(1)) == [second]  # the older one stays
        await soon(lambda: [pid for pid in (each.pid for each in both) if alive(pid)] == [second.pid])

        await stage.registry.undeploy(*KEY, TESTER, lambda _: None)
        await stage.listed(lambda found: not found)
        await soon(lambda: not alive(second.pid) and not stage.files())
        assert not Path(second.address.removeprefix("unix:")).exists()

    play(scene)


def test_a_replica_ends_only_when_no_live_router_sends_to_it(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.registry.deploy(*KEY, 1, TESTER)
        (replica,) = await stage.listed(ready(1))

        async def acknowledge(router: str, revision: int) -> None:
            lease = RouterLease(
                id=router, node=NODE, pid=1, revision=revision, highest=revision, lease_ms=60_000
            )
            await stage.registry.acknowledge(lease)

        await acknowledge("slow", 1)
        await stage.registry.acknowledge(
            RouterLease(id="lapsed", node=NODE, pid=1, revision=1, highest=1, lease_ms=0)
        )
        await stage.registry.undeploy(*KEY, TESTER, lambda _: None)
        await stage.listed(lambda found: [each.state for each in found] == ["draining"])
        assert not await asyncio.wait_for(_gone(replica.pid, 0.3), 5)
        await acknowledge("slow", await stage.registry.revision())
        assert await _gone(replica.pid, 10)
        await stage.listed(lambda found: not found)

    play(scene)


async def _gone(pid: int, within: float) -> bool:
    try:
        return await soon(lambda: not alive(pid), within)
    except AssertionError:
        return False


def test_what_does_not_load_is_given_up_until_asked_again(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        (altered,) = stage.place.bentoml.rglob("model.onnx")
        good = altered.read_bytes()
        altered.chmod(0o600)
        altered.write_bytes(good + b"\n")
        await stage.registry.deploy(*KEY, 1, TESTER)
        (failed,) = await stage.listed(lambda found: [each.state for each in found] == ["failed"], 30)
        assert failed.error is not None
        assert "altered" in failed.error
        assert "replica_failed" in failed.last_lines[-1]
        logs = list(stage.place.logs.glob("replica-*.log"))
        assert len(logs) == LOADS
        altered.write_bytes(good)
        await stage.registry.drop_replica("m", failed.id)  # as `deploy` does
        await stage.listed(ready(1))

    play(scene)


def test_redis_away_changes_nothing_and_crashes_are_still_mended(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.registry.deploy(*KEY, 1, TESTER)
        (first,) = await stage.listed(ready(1))
        stage.server.kill()
        os.kill(first.pid, signal.SIGKILL)
        await soon(lambda: [each["id"] for each in stage.files()] not in ([], [first.id]), 20)
        stage.server.start()
        (second,) = await stage.listed(lambda found: ready(1)(found) and found[0].id != first.id)
        await stage.registry.redis.flushall()  # a Redis that forgot everything stops nothing either
        assert await stage.listed(ready(1)) == [second]
        assert alive(second.pid)
        await stage.registry.add_version(stage.document, TESTER)
        await stage.registry.deploy(*KEY, 2, TESTER)
        await stage.listed(ready(2))

    play(scene)


def test_it_starts_from_its_file_while_redis_is_dead(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "ASK_REGISTRY_S", 0.3)

    async def scene(stage: Stage) -> None:
        await stage.registry.deploy(*KEY, 1, TESTER)
        (first,) = await stage.listed(ready(1))
        stage.agent.stop()
        await asyncio.gather(*stage.tasks)
        assert not alive(first.pid)
        stage.server.kill()
        stage.start()
        (started,) = await soon(stage.files, 20)
        stage.server.start()
        (listed,) = await stage.listed(ready(1))
        assert listed.id == started["id"]

    play(scene)


def test_a_replica_that_hangs_is_replaced(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.registry.deploy(*KEY, 1, TESTER)
        (first,) = await stage.listed(ready(1))
        os.kill(first.pid, signal.SIGSTOP)
        await soon(lambda: not alive(first.pid), 3)
        (second,) = await stage.listed(lambda found: ready(1)(found) and found[0].id != first.id)
        assert second.replaced is not None
        assert second.replaced.startswith(f"{first.id}: it was stopped")
        losses = orjson.loads((stage.place.runtime_dir / "losses.json").read_bytes())
        assert losses == {"losses": [["m", "1", "hung", 1]]}

    play(scene)


def test_a_replica_over_its_memory_is_replaced_while_it_serves(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.registry.deploy(*KEY, 1, TESTER)
        (first,) = await stage.listed(ready(1))
        rss = psutil.Process(first.pid).memory_info().rss
        stage.agent.leave()  # the next one adopts it, and has a limit
        await asyncio.gather(*stage.tasks)
        stage.start(replica_memory_bytes=rss + (24 << 20))
        body = orjson.dumps({"inputs": {"x": [[0.5] * 250_000] * 3}})
        async with httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=first.address.removeprefix("unix:"))
        ) as client:
            with contextlib.suppress(httpx.HTTPError):
                await client.post("http://replica/predict", content=body, timeout=10)
        found = await stage.listed(lambda found: ready(1)(found) and found[0].id != first.id)
        assert found[0].replaced is not None
        assert "over its limit" in found[0].replaced
        await soon(lambda: not alive(first.pid))

    play(scene)


def test_one_that_never_fits_is_given_up(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.agent.stop()
        await asyncio.gather(*stage.tasks)
        stage.start(replica_memory_bytes=20 << 20)
        await stage.registry.deploy(*KEY, 1, TESTER)
        (failed,) = await stage.listed(lambda found: [each.state for each in found] == ["failed"], 30)
        assert "over its limit of 20 MiB" in (failed.error or "")

    play(scene)


def test_a_new_agent_adopts_what_runs(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.registry.deploy(*KEY, 2, TESTER)
        before = await stage.listed(ready(2))
        await _crash(stage)
        # One note is lost, as if the agent had died between the start and the note.
        note = stage.place.replica_files / f"{before[0].id}.json"
        note.write_bytes(orjson.dumps({"id": before[0].id}))
        os.kill(before[1].pid, signal.SIGKILL)  # while nobody looks
        stage.start()
        after = await stage.listed(
            lambda found: ready(2)(found) and before[1].id not in [r.id for r in found]
        )
        assert before[0].pid in [each.pid for each in after]
        assert alive(before[0].pid)

    play(scene)


async def _crash(stage: Stage) -> None:
    """Ends the agent in the midst of things, without a word to anybody."""
    await halt({stage.tasks.pop()})
    for replica in stage.agent._running.values():
        replica.process.process.close()
