"""`pointsman restart`: what people read, what `--json` prints, how it ends; `up` is scripted, all else is real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from router.agent.intercom import listening
from router.agent.restart import RestartFailed, Restarts, Step, Wanted, Way
from tests.cli.conftest import Run
from tests.control.installation import Installation

Up = Callable[[Way], None]


@pytest.fixture
def up(here: Installation) -> Iterator[Up]:
    """Begins to listen as `up` does; every kind of restart goes the given way."""
    stack = AsyncExitStack()
    tasks: set[asyncio.Task[None]] = set()

    def begin(way: Way) -> None:
        def spawn(work: object) -> None:
            tasks.add(asyncio.ensure_future(work))  # type: ignore[arg-type]

        async def start() -> None:
            restarts = Restarts({"routers": way, "replicas": way, "agent": way}, spawn)
            await stack.enter_async_context(listening(here.settings.data_dir / "up.sock", restarts.answer))

        here.call(start())

    async def end() -> None:
        await stack.aclose()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with capture_logs():  # `up` writes them to its file
        yield begin
        here.call(end())


def test_steps_and_outcome_are_told(run: Run, here: Installation, up: Up) -> None:
    asked: list[Wanted] = []

    async def way(wanted: Wanted) -> AsyncIterator[Step]:
        asked.append(wanted)
        yield Step("digits 1", "digits-1-aaa", "digits-1-bbb", 1.25)
        yield Step("digits 1", "digits-1-ccc", None, 0.5, clean=False)

    here.versions("digits", "1")
    up(way)
    done = run("restart", "replicas", "digits", "1")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "digits 1: digits-1-aaa -> digits-1-bbb after 1.2 s"
    assert "digits-1-ccc -> none after 0.5 s (the old one was killed" in done.stdout
    assert "replicas: 2 restarted in" in done.stdout
    assert asked == [Wanted("replicas", "digits", "1")]
    told = json.loads(run("restart", "replicas", "digits", "--json").stdout)
    assert told == here.client.get("/restart").json()
    assert [step["old"] for step in told["restart"]["steps"]] == ["digits-1-aaa", "digits-1-ccc"]


def test_one_that_stops_on_the_way_is_a_failure_with_its_steps(run: Run, up: Up) -> None:
    async def way(_: Wanted) -> AsyncIterator[Step]:
        yield Step("router-0", "r0.a", "r0.b", 1.0)
        raise RestartFailed("router-1 stays: its successor was not ready")

    up(way)
    done = run("restart", "routers")
    assert done.exit_code == 1
    assert "router-0: r0.a -> r0.b" in done.stdout
    assert (
        done.stderr
        == "error: after 1 restarted: router-1 stays: its successor was not ready (restart_failed)\n"
    )
    told = run("restart", "routers", "--json")
    assert (told.exit_code, json.loads(told.stdout)["restart"]["state"]) == (1, "failed")


def test_a_fault_of_ours_is_a_failed_restart_and_the_next_one_can_begin(run: Run, up: Up) -> None:
    async def way(wanted: Wanted) -> AsyncIterator[Step]:
        if wanted.what == "agent":
            raise RuntimeError("a bug")
        yield Step("router-0", "r0.a", "r0.b", 1.0)

    up(way)
    assert "internal error: RuntimeError('a bug')" in run("restart", "agent").stderr
    assert run("restart", "routers").exit_code == 0


def test_one_at_a_time(run: Run, here: Installation, up: Up) -> None:
    on = asyncio.Event()

    async def way(_: Wanted) -> AsyncIterator[Step]:
        await on.wait()
        yield Step("agent", "1", "2", 0.1)

    up(way)
    assert here.client.get("/restart").json() == {"restart": None}
    first = here.post("/restart", {"what": "agent"})
    assert (first.status_code, first.json()["restart"]["state"]) == (202, "running")
    second = run("restart", "routers", "--json")
    assert (second.exit_code, json.loads(second.stdout)["code"]) == (1, "restart_running")

    async def go() -> None:
        on.set()

    here.call(go())


def test_usage_and_refusals(run: Run, here: Installation) -> None:
    assert run("restart", "routers", "digits").exit_code == 2
    assert run("restart", "everything").exit_code == 2
    assert json.loads(run("restart", "replicas", "nobody", "--json").stdout)["code"] == "unknown_model"
    here.versions("digits", "1")
    assert json.loads(run("restart", "replicas", "digits", "9", "--json").stdout)["code"] == "unknown_version"
    away = run("restart", "agent", "--json")
    assert (away.exit_code, json.loads(away.stdout)["code"]) == (1, "up_away")
    assert here.post("/restart", {"what": "all"}).status_code == 400
