"""The replicas of one version as the pass-through lane has them, and which of them gets the next exchange."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from router.documents import Replica
from router.route.table import Target
from router.upstream.budget import BudgetRules
from router.upstream.door import Door
from router.upstream.health import HealthRules
from router.upstream.judgement import Judgement
from router.upstream.tally import Tally
from router.upstream.turn import panic, whole_share, without

Key = tuple[str, str]
"""Model and version."""


class Gate:
    """The doors of one version."""

    def __init__(
        self,
        most: int,
        health: HealthRules,
        budget: BudgetRules,
        tally: Tally,
        chance: Callable[[], float],
    ) -> None:
        self.doors: dict[str, Door] = {}
        self.judgement = Judgement(health, budget, tally, chance, monotonic())
        self._most = most
        self._chance = chance
        self._replicas: tuple[Replica, ...] = ()
        self._row: list[Door] = []

    def row(self, target: Target) -> list[Door]:
        """Those of the target's replicas."""
        if target.replicas is not self._replicas:
            self._row = [self._door(replica) for replica in target.replicas]
            self._replicas = target.replicas
        return self._row

    def pick(
        self,
        row: list[Door],
        now: float,
        avoid: Door | None = None,
        tunnel: bool = False,
        tried: tuple[Door, ...] = (),
    ) -> Door | None:
        """The least busy that is in turn and takes one more; None where all have enough to do.

        `avoid` failed this request, `tried` could not be connected. Those that are out of turn come last, and
        only in a panic.
        """
        able = [door for door in row if door not in tried and (tunnel or door.window.admits(door.busy))]
        if tunnel:
            able = [door for door in able if door.tunnels < self._most]
        if not able:
            return None
        able = without(sorted(able, key=_order), row, now, avoid)
        rested = [door for door in able if door.retry_at <= now]
        found = whole_share(rested, now, self._chance)
        if found is None:  # those that begin take what the others have no place for
            found = next((door for door in rested if not door.health.out), None)
        if found is None and able and panic(row, now):
            return rested[0] if rested else able[0]
        return found

    def forget(self, known: set[str]) -> None:
        """Closes the doors of all other replicas."""
        for name in [name for name in self.doors if name not in known]:
            self.doors.pop(name).close()
        self._replicas, self._row = (), []

    def _door(self, replica: Replica) -> Door:
        door = self.doors.get(replica.id)
        if door is None or door.replica.address != replica.address:
            if door is not None:
                door.close()
            warm = any(each.health.samples for each in self.doors.values())
            health = self.judgement.newcomer(monotonic(), beside=warm)
            door = self.doors[replica.id] = Door(replica, self.judgement, health, self._most)
        return door


def _order(door: Door) -> tuple[int, float]:
    return door.busy + door.tunnels, door.sent_at
