"""What is wanted follows the registry, outlives it in a file, and is not undone by a registry that forgot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from router.agent.desire import Desire
from router.agent.follow import News
from router.agent.place import Place
from router.documents import ModelState
from router.registry.connection import connect
from router.registry.registry import Registry
from tests.agent.conftest import Server
from tests.agent.wishes import TESTER, document


def news(model: str, desired: dict[str, int]) -> News:
    return News(9, (ModelState(model=model, route=None, replicas=(), desired=desired),), everything=False)


def play(server: Server, scene: Callable[[Registry], Awaitable[None]]) -> None:
    async def run() -> None:
        registry = Registry(connect(server.embedded.url))
        await registry.add_version(document("m", "1"), TESTER)
        await registry.add_version(document("m", "2"), TESTER)
        await scene(registry)
        await registry.close()

    asyncio.run(run())


def test_numbers_and_documents_are_kept_in_the_file(server: Server, place: Place) -> None:
    async def scene(registry: Registry) -> None:
        desire = Desire(place.desired, registry)
        assert desire.wanted is None
        assert not desire.recall()
        assert await desire.take(news("m", {"1": 1, "2": 2})) == {("m", "1"), ("m", "2")}
        assert await desire.take(news("m", {"1": 3, "2": 2})) == {("m", "1")}
        assert await desire.take(news("m", {"1": 3, "2": 2})) == set()
        later = Desire(place.desired, registry)
        assert later.recall()
        assert later.wanted == {("m", "1"): 3, ("m", "2"): 2}
        kept = dict(later.document(("m", "2")) or {})
        assert kept.pop("registered")["actor"] == TESTER.name
        assert kept == document("m", "2")
        assert await later.take(news("m", {})) == {("m", "1"), ("m", "2")}
        assert later.wanted == {}

    play(server, scene)


def test_a_forgotten_model_is_not_an_undeployed_one(server: Server, place: Place) -> None:
    async def scene(registry: Registry) -> None:
        desire = Desire(place.desired, registry)
        await desire.take(news("m", {"1": 1}))
        await registry.redis.flushall()
        assert await desire.take(news("m", {})) == set()
        assert desire.wanted == {("m", "1"): 1}

    play(server, scene)


def test_a_registry_that_fell_back_may_ask_for_more_but_not_for_less(server: Server, place: Place) -> None:
    async def scene(registry: Registry) -> None:
        desire = Desire(place.desired, registry)
        await desire.take(news("m", {"1": 2}))
        for older in ({"1": 1}, {}, {"2": 1}):
            found = news("m", older)
            await desire.take(News(3, found.models, everything=True, behind=True))
        assert desire.wanted == {("m", "1"): 2, ("m", "2"): 1}

    play(server, scene)


def test_a_version_without_a_document_and_a_broken_file_are_passed_over(server: Server, place: Place) -> None:
    async def scene(registry: Registry) -> None:
        desire = Desire(place.desired, registry)
        await desire.take(news("m", {"1": 1, "no-such": 1}))
        assert desire.wanted == {("m", "1"): 1}
        place.desired.write_text("{")
        assert not Desire(place.desired, registry).recall()

    play(server, scene)
