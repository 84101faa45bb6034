"""The index of this process, kept up with the registry by its revision; asks Redis, changes nothing there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import orjson

from router.catalog.addenda import Addenda
from router.catalog.facts import changing_facts
from router.catalog.index import Index
from router.catalog.past import active_since
from router.catalog.shelf import Shelf
from router.control.away import answering
from router.documents import ModelState
from router.errors import Unavailable
from router.halt import halt
from router.names import version_order
from router.registry.registry import Registry
from router.registry.told import Told, counted, told_of

T = TypeVar("T")

TOGETHER = 32  # models that are read at once
DOCUMENTS = 200  # documents that are read at once
WHOLE_S = 60.0  # longest time for all that changed since the last look
ROUND_S = 5.0  # longest wait for one answer of Redis


class Catalog:
    """`fresh()` first; then ask. All models of the installation: who asks must leave out what is not theirs."""

    def __init__(self, registry: Registry) -> None:
        self.shelves: dict[str, Shelf] = {}
        self._registry = registry
        self._index = Index()
        self._lock = threading.Lock()  # one thread at a time may hold SQLite's connection
        self._revision = 0
        self._task: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None  # waits for that one, and has not asked yet

    async def fresh(self, seconds: float = 2.0) -> None:
        """Returns when all that was changed before the call is in.

        Raises Unavailable `redis_away`, or `index_building` where that takes longer than `seconds`; it goes on.
        """
        task = self._begun()
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise Unavailable("the index of versions is being built: try again", code="index_building")
        task.result()

    async def close(self) -> None:
        """Ends what runs."""
        await halt([task for task in (self._next, self._task) if task is not None])

    def _begun(self) -> asyncio.Task[None]:
        """A look at Redis that begins after now; one that runs may have asked before our caller's change."""
        if self._next is not None:
            return self._next
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._follow())
            found = self._task
        else:
            found = self._next = asyncio.ensure_future(self._behind(self._task))
        found.add_done_callback(
            lambda task: task.cancelled() or task.exception()
        )  # whoever waits hears of it
        return found

    async def _behind(self, running: asyncio.Task[None]) -> None:
        await asyncio.wait({running})
        self._task, self._next = self._next, None
        await self._follow()

    async def ask(self, question: Callable[[Index], T]) -> T:
        """An answer of the index, from a thread."""

        def locked() -> T:
            with self._lock:
                return question(self._index)

        return await asyncio.to_thread(locked)

    async def _follow(self) -> None:
        async with asyncio.timeout(WHOLE_S):
            async with answering(ROUND_S):
                revision, count = await counted(self._registry)
            if revision < self._revision:
                self._forget()  # a Redis that fell back
            if revision > self._revision:
                await self._catch_up()
            if sum(shelf.created is not None for shelf in self.shelves.values()) != count:
                self._forget()  # one that lost changes and is ahead of us by now
                await self._catch_up()

    def _forget(self) -> None:
        with self._lock:
            self._index = Index()
        self.shelves = {}
        self._revision = 0

    async def _catch_up(self) -> None:
        complete = False
        while not complete:
            async with answering(ROUND_S):
                changes = await self._registry.read_since(self._revision)
            states = changes.models
            for start in range(0, len(states), TOGETHER):
                await self._load(states[start : start + TOGETHER])
            self._revision = changes.revision
            complete = changes.complete

    async def _load(self, states: tuple[ModelState, ...]) -> None:
        """Reads what the index lacks of these models."""
        async with answering(ROUND_S):
            found = await told_of(self._registry, [state.model for state in states])
        marks, wanted, shelves = {}, [], []

        def names(index: Index) -> dict[str, set[str]]:
            return {state.model: index.names(state.model) for state in states}

        known = await self.ask(names)
        for state, told in zip(states, found, strict=True):
            shelf = _shelf(state, told)
            shelves.append(shelf)
            versions = told.versions
            wanted += [(state.model, version) for version in versions if version not in known[state.model]]
            marks[state.model] = {
                version: changing_facts(version, state, shelf.addenda.get(version, Addenda()))
                for version in versions
            }
        for start in range(0, len(wanted), DOCUMENTS):
            async with answering(ROUND_S):
                raw = await self._registry.version_documents(wanted[start : start + DOCUMENTS])
            await self.ask(partial(_add, raw.values()))

        def mark(index: Index) -> None:
            for model, facts in marks.items():
                index.mark(model, facts)

        await self.ask(mark)
        cards = await self.ask(partial(_cards, shelves))
        self.shelves |= {
            shelf.state.model: replace(shelf, card=card) for shelf, card in zip(shelves, cards, strict=True)
        }


def _add(documents: Iterable[bytes], index: Index) -> None:
    index.add(map(orjson.loads, documents))


def _shelf(state: ModelState, told: Told) -> Shelf:
    return Shelf(
        state,
        created=told.created,
        since=active_since(told.history),
        addenda=told.addenda,
        upkeep=told.upkeep,
        versions=tuple(sorted(told.versions, key=version_order)),
    )


def _cards(shelves: Sequence[Shelf], index: Index) -> list[dict[str, Any]]:
    found = []
    for shelf in shelves:
        spoken = shelf.spoken_for()
        document = None if spoken is None else index.document(shelf.state.model, spoken)
        found.append((document or {}).get("card") or {})
    return found
