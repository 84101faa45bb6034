"""The two files of a router without Redis: when they are written, what they are taken for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from router.documents import ModelState
from router.route.offline import SAVE_EVERY, LastGood, LocalReplicas
from router.route.snapshot import Snapshot
from tests.route.test_watch import replica

STATE = ModelState(model="m", route=None, replicas=(replica("1"),), desired={"1": 1})


def test_it_is_written_soon_but_not_at_every_change(tmp_path: Path) -> None:
    async def story() -> None:
        good = LastGood(tmp_path / "table.json")
        assert not good.due(100.0)
        good.changed(100.0)
        assert good.due(100.0)
        await good.save(Snapshot(revision=7, models=(STATE,), versions=()), 100.0)
        assert not good.due(200.0)
        good.changed(100.1)
        assert not good.due(100.0 + SAVE_EVERY - 0.01)
        assert good.due(100.0 + SAVE_EVERY)
        found = await good.load()
        assert found is not None
        assert (found.revision, found.models[0].desired) == (7, {"1": 1})
        assert found.models[0].replicas == (), "they are those of then"

    asyncio.run(story())


def test_a_disk_that_refuses_is_no_error_of_the_router(tmp_path: Path) -> None:
    async def story() -> None:
        good = LastGood(tmp_path / "missing" / "table.json")
        good.changed(1.0)
        await good.save(Snapshot(revision=7, models=(), versions=()), 1.0)
        assert not good.due(2.0)
        good.changed(2.0)
        assert good.due(2.0)

    asyncio.run(story())


def test_only_news_of_this_hosts_replicas_count(tmp_path: Path) -> None:
    path = tmp_path / "replicas.json"

    def write(*replicas: object, at: int) -> None:
        path.write_bytes(msgspec.json.encode({"replicas": replicas}))
        os.utime(path, ns=(at, at))

    async def story() -> None:
        local = LocalReplicas(path, "here", tmp_path)
        elsewhere = msgspec.structs.replace(replica("9"), node="there")
        states = {"m": msgspec.structs.replace(STATE, replicas=(elsewhere, replica("1")))}
        assert await local.news(states) == {}, "there is no note yet"
        write(replica("1"), at=1)
        assert await local.news(states) == {}, "it says what is known"
        write(replica("2"), at=2)
        assert (await local.news(states))["m"].replicas == (elsewhere, replica("2"))
        assert await local.news(states) == {}, "it was read"
        local.forget()
        assert (await local.news(states))["m"].replicas == (elsewhere, replica("2"))

    asyncio.run(story())
