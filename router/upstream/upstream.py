"""All lanes of a router: follows the routing table, hands items to the lane of the chosen version."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic

from router.documents import Version
from router.halt import halt
from router.route.table import Entry, Table, Target, addresses
from router.upstream.dialect import dialect_of
from router.upstream.doors import Doors
from router.upstream.lane import Lane
from router.upstream.rules import LaneLimits
from router.upstream.tally import Tally
from router.upstream.work import Item

SWEEP = 0.05  # seconds between looks for late work and silent replicas


class Upstream:
    """Lanes by model and version, made when a version gets its first ready replica."""

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = limits
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.doors = Doors(limits.pass_most, limits.health, limits.budget, self.tallies)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._closing: list[Lane] = []  # their last exchanges are still under way
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to sweep expired work; call in the loop that serves."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """Ends the sweep and closes every lane."""
        if self._sweeper is not None:
            await halt([self._sweeper])
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()
        self.doors.close()

    async def prepare(self, entry: Entry) -> str | None:
        """Seats and connects the replicas of an entry that is about to be routed; why not, or None.

        Only versions the route may choose count; others are connected as far as they can be.
        """
        unreachable = []
        routed = entry.route.targets()
        for name, target in entry.targets.items():
            lane = self._lane(entry.route.model, name, target)
            if target.replicas and not await lane.warm() and name in routed:
                unreachable.append(name)
        if unreachable:
            return f"model {entry.route.model}: version {', '.join(sorted(unreachable))} cannot be reached"
        return None

    def retain(self, table: Table, models: list[str]) -> None:
        """Closes the lanes of `models` whose version is no longer in the table."""
        changed = {model: entry for model in models if (entry := table.entries.get(model)) is not None}
        for key in [key for key in self._lanes if key[0] in changed]:
            if key[1] not in changed[key[0]].targets:
                lane = self._lanes.pop(key)
                lane.close()
                self._closing.append(lane)
        self.doors.retain(set(changed), set(addresses(changed.values())))

    def submit(self, target: Target, item: Item) -> None:
        """Hands an item to the lane of its version. Raises Unavailable `not_ready` or `overloaded`."""
        version = target.version
        lane = self._lanes.get((version.model, version.version))
        if lane is None:
            lane = self._lane(version.model, version.version, target)
        lane.submit(item)

    def gauges(self) -> list[tuple[str, str, int, int, int]]:
        """Model, version, waiting requests, busy replicas, and those that are out of turn in either lane."""
        passed, found = self.doors.gauges(), []
        for key, lane in self._lanes.items():
            out = max(lane.out, passed[key][2] if key in passed else 0)
            found.append((*key, lane.waiting, lane.busy, out))
        return found

    def _lane(self, model: str, version: str, target: Target) -> Lane:
        lane = self._lanes.get((model, version))
        if lane is None:
            lane = self._lanes[model, version] = self._made(target.version)
        lane.seat(target.replicas)
        return lane

    def _made(self, version: Version) -> Lane:
        dialect, limits = dialect_of(version), self._limits
        if dialect.batch_bytes < limits.batch.size:
            limits = replace(limits, batch=replace(limits.batch, size=dialect.batch_bytes))
        tally = self.tallies.setdefault((version.model, version.version), Tally())
        return Lane(version.model, version.version, limits, dialect, rowwise=version.rowwise, tally=tally)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            now = monotonic()
            for lane in [*self._lanes.values(), *self._closing]:
                lane.expire(now)
            self.doors.expire(now)
            self._closing = [lane for lane in self._closing if not lane.idle]
