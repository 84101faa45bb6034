"""What becomes of a restart when a successor does not come up: the old process stays."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable

import pytest

from router.agent import rolling
from router.agent.child import Child, Launch
from router.agent.place import Place
from router.agent.restart import RestartFailed, Wanted
from router.agent.rolling import Rolling
from router.settings import Settings
from tests.agent.waiting import alive, soon

SLEEP = [sys.executable, "-c", "import time; time.sleep(3600)"]


class House:
    """A parent with one slot; every start in it sleeps and answers nothing."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.children: dict[str, Child] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.stopping = asyncio.Event()
        self.left = 0
        settings = Settings(data_dir=place.data_dir)
        self.rolling = Rolling(settings, place, self.children, self.start, self.changed, self.stopping)

    def start(self, name: str, listed: str) -> Child:
        count = len(self.tasks)
        log = self.place.logs / f"{name}.log"
        launch: Callable[[], Launch] = lambda: Launch(SLEEP, (), f"r0.{count}")  # noqa: E731
        child = Child(name, launch, env=os.environ, log=log, changed=lambda _: None)
        self.children[listed] = child
        self.tasks.append(asyncio.create_task(child.keep()))
        return child

    def changed(self) -> None:
        self.left += 1

    async def end(self) -> None:
        hurry = asyncio.Event()
        await asyncio.gather(*(child.stop(2, hurry) for child in self.children.values()))
        await asyncio.gather(*self.tasks)


def test_a_router_whose_successor_does_not_answer_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "ROUTER_READY_S", 0.5)

    async def scene() -> None:
        house = House(place)
        old = house.start("router-0", "router-0")
        await soon(lambda: old.pid)
        with pytest.raises(RestartFailed, match="router-0 stays: its successor was not ready"):
            _ = [step async for step in house.rolling.routers(Wanted("routers"))]
        assert house.children == {"router-0": old}
        assert old.pid is not None
        assert alive(old.pid)
        assert house.left == 1
        await soon(lambda: house.tasks[1].done())
        await house.end()

    asyncio.run(scene())


def test_nothing_is_started_once_up_is_stopping(place: Place) -> None:
    async def scene() -> None:
        house = House(place)
        old = house.start("router-0", "router-0")
        house.stopping.set()
        with pytest.raises(RestartFailed, match="is stopping"):
            _ = [step async for step in house.rolling.routers(Wanted("routers"))]
        assert (house.children, len(house.tasks)) == ({"router-0": old}, 1)
        await house.end()

    asyncio.run(scene())


def test_a_renewed_child_is_started_at_once_and_counts_as_no_failure(place: Place) -> None:
    async def scene() -> None:
        house = House(place)
        child = house.start("agent", "agent")
        before = await soon(lambda: child.pid)
        assert await child.renew(15, 5)
        after = await soon(lambda: child.pid)
        assert after != before
        assert child.backoff.ended == 0
        await house.end()

    asyncio.run(scene())


def test_replicas_without_an_agent_are_a_failed_restart(place: Place) -> None:
    async def scene() -> None:
        began = time.monotonic()
        with pytest.raises(RestartFailed, match="agent does not answer"):
            _ = [step async for step in House(place).rolling.replicas(Wanted("replicas"))]
        assert time.monotonic() - began < 5

    asyncio.run(scene())
