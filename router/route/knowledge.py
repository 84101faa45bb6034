"""What one router knows of the registry, and the table it makes of it; takes no older route for a newer one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import msgspec
import structlog

from router.access.admission import Admission, Rules
from router.access.key import Key
from router.documents import ModelState, Version
from router.registry.reads import Changes, Reads
from router.route.regression import Regression
from router.route.snapshot import Snapshot
from router.route.table import Entry, Table, build, not_ready

log = structlog.get_logger(__name__)

OPEN = Rules()
"""Nobody needs a key."""


class Upstreams(Protocol):
    """What is asked of the room below: connect an entry's replicas, drop what is gone."""

    async def prepare(self, entry: Entry) -> str | None:
        """Connects; why the entry cannot be served, or None."""

    def retain(self, table: Table, models: list[str]) -> None:
        """Closes what the table no longer names."""


class Knowledge:
    """States, versions and refusals behind the table. `table` is swapped in one assignment."""

    def __init__(self, upstreams: Upstreams, node: str | None = None, rules: Rules = OPEN) -> None:
        self.table = Table(admission=Admission.of(rules))
        self.states: dict[str, ModelState] = {}
        self.refused: dict[str, tuple[int, str]] = {}  # model -> (epoch refused, why)
        self.regression = Regression()
        self._upstreams = upstreams
        self._node = node
        self._versions: dict[tuple[str, str], Version] = {}
        self._known: dict[str, frozenset[str]] = {}

    async def recall(self, snapshot: Snapshot) -> None:
        """Starts from what was known once, without any replica."""
        known: dict[str, set[str]] = {}
        for version in snapshot.versions:
            self._versions[version.model, version.version] = version
            known.setdefault(version.model, set()).add(version.version)
        self._known = {model: frozenset(names) for model, names in known.items()}
        states = {state.model: state for state in snapshot.models}
        self.admit(snapshot.keys)
        await self.apply(states, snapshot.revision, first=True)

    def snapshot(self, revision: int) -> Snapshot:
        """What to recall at the next start."""
        versions = tuple(self._versions.values())
        return Snapshot(
            revision=revision,
            models=tuple(self.states.values()),
            versions=versions,
            keys=tuple(self.table.admission.keys.values()),
        )

    def admit(self, keys: Iterable[Key]) -> None:
        """Takes the stored keys, none in an older form than it is known in."""
        self.table = replace(self.table, admission=self.table.admission.with_keys(keys))

    async def learn(self, registry: Reads, changes: Changes, *, anew: bool) -> None:
        """Fetches the names and documents the table needs and does not have; neither ever changes.

        `anew` fetches all of them: it may be another Redis than the one they came from.
        """
        counts = changes.version_counts
        grown = [model for model, count in counts.items() if anew or count != len(self._known.get(model, ()))]
        if grown:
            self._known.update(await registry.version_names(grown))
        named = {(state.model, name) for state in changes.models for name in _named(state)}
        wanted = sorted(named if anew else named - self._versions.keys())
        for key, document in (await registry.version_documents(wanted)).items():
            self._versions[key] = msgspec.json.decode(document, type=Version)

    async def apply(self, states: Mapping[str, ModelState], revision: int, *, first: bool) -> None:
        """Builds and connects the entries, then swaps the table.

        The `first` table is taken as it is; later a change of route waits for its targets.
        """
        entries: dict[str, Entry] = {}
        for model, state in states.items():
            before = self.table.entries.get(model)
            entry = self._entry(state)
            unreachable = await self._upstreams.prepare(entry)
            why = not_ready(before, entry) or unreachable
            if why is not None and not first and before is not None and _newer(entry, before):
                self.refused[model] = (entry.route.epoch, why)
                log.warning("route_refused", model=model, epoch=entry.route.epoch, reason=why)
                continue
            self.refused.pop(model, None)
            self.states[model] = state
            entries[model] = entry
        self.table = self.table.with_entries(revision, entries)
        self._upstreams.retain(self.table, list(entries))

    def not_older(self, stored: Mapping[str, ModelState]) -> dict[str, ModelState]:
        """What Redis has, with our own routes where it lost them (flushed, restored from an older snapshot).

        Callers must not notice: a lost route is served until a newer one comes.
        """
        found = {}
        for model, state in stored.items():
            before = self.table.entries.get(model)
            if before is not None and self._lost(model, before.route.epoch, _epoch(state)):
                state = msgspec.structs.replace(state, route=before.route)
            found[model] = state
        return found

    def look_for_losses(self, stored: Mapping[str, ModelState]) -> None:
        """Notes every route that Redis lost; `stored` is all that it has."""
        for model, entry in self.table.entries.items():
            state = stored.get(model)
            self._lost(model, entry.route.epoch, 0 if state is None else _epoch(state))

    def _lost(self, model: str, known: int, stored: int) -> bool:
        news = model not in self.regression.models
        lost = self.regression.note(model, known, stored)
        if lost and news:
            log.error("route_regressed", model=model, stored=stored, known=known)
        return lost

    def _entry(self, state: ModelState) -> Entry:
        versions = {
            name: self._versions[state.model, name]
            for name in _named(state)
            if (state.model, name) in self._versions
        }
        return build(state, versions, self._known.get(state.model, frozenset()), self._node)


def _epoch(state: ModelState) -> int:
    return state.route.epoch if state.route is not None else 0


def _newer(entry: Entry, before: Entry) -> bool:
    return entry.route.epoch > before.route.epoch


def _named(state: ModelState) -> set[str]:
    """The versions of a model whose documents a table needs."""
    route = state.route.targets() if state.route is not None else frozenset[str]()
    return {*state.desired, *(replica.version for replica in state.replicas), *route}
