"""What to start, stop and give up, from what is asked for and what runs: values in, values out, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from router.agent.backoff import Backoff

Key = tuple[str, str]
"""Model and version."""

Phase = Literal["starting", "ready", "draining"]

LOADS = 3
"""Failed loads in a row after which a version is given up until it is asked for again."""

LOAD_PAUSE_S = 0.5
STARTS_AT_ONCE = 4
"""Replicas that load at the same time on this host; the others wait their turn."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One replica process as the plan sees it; `since` is when it started (monotonic seconds).

    `outgoing`: it serves until another one can do so in its place.
    """

    id: str
    key: Key
    phase: Phase
    since: float
    outgoing: bool = False


@dataclass(frozen=True, slots=True)
class Tries:
    """What is known about starting a version here; `not_before` in monotonic seconds."""

    loads_failed: int = 0
    crashes: Backoff = field(default_factory=Backoff)
    not_before: float = 0.0

    @property
    def given_up(self) -> bool:
        """Whether it is not tried again until it is asked for again."""
        return self.loads_failed >= LOADS

    def after_failed_load(self, now: float, *, final: bool = False) -> Tries:
        """A replica ended, or ran out of time, before it was warm; `final`: another try would end the same."""
        failed = max(self.loads_failed + 1, LOADS if final else 0)
        return replace(self, loads_failed=failed, not_before=now + LOAD_PAUSE_S * 2.0 ** (failed - 1))

    def after_load(self) -> Tries:
        """A replica became warm; crashes still count, or one that dies at once would spin."""
        return replace(self, loads_failed=0)

    def after_crash(self, now: float, lived_s: float) -> Tries:
        """A warm replica ended unasked: the first time it is replaced at once. It did load: never given up."""
        crashes = self.crashes.after(lived_s)
        return Tries(0, crashes, now + crashes.delay_s)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and when to look again (monotonic seconds; None: when something happens)."""

    start: tuple[Key, ...] = ()
    retire: tuple[str, ...] = ()
    wake: float | None = None


def plan(wanted: Mapping[Key, int], units: Iterable[Unit], tries: Mapping[Key, Tries], now: float) -> Plan:
    """The next steps towards `wanted` (replicas of each version).

    Draining units count as gone. After a failed load one replica at a time is tried. Surplus goes youngest
    first, those not yet warm before warm ones. An outgoing unit is not counted, so that another one is started,
    and is retired once there are enough warm ones without it.
    """
    alive: dict[Key, list[Unit]] = {}
    outgoing: dict[Key, list[Unit]] = {}
    for unit in units:
        if unit.phase != "draining":
            (outgoing if unit.outgoing else alive).setdefault(unit.key, []).append(unit)
    room = STARTS_AT_ONCE - sum(unit.phase == "starting" for found in alive.values() for unit in found)
    start: list[Key] = []
    wake: float | None = None
    for key, number in sorted(wanted.items()):
        known = tries.get(key, Tries())
        found = alive.get(key, [])
        missing = number - len(found)
        if missing <= 0 or known.given_up:
            continue
        if known.not_before > now:
            wake = known.not_before if wake is None else min(wake, known.not_before)
            continue
        if known.loads_failed:
            missing = 0 if any(unit.phase == "starting" for unit in found) else 1
        begin = max(0, min(missing, room))
        start += [key] * begin
        room -= begin
    retire = [
        unit.id
        for key, found in sorted(alive.items())
        for unit in _surplus(found, max(0, wanted.get(key, 0)))
    ]
    for key, leaving in sorted(outgoing.items()):
        warm = sum(unit.phase == "ready" for unit in alive.get(key, []))
        spare = warm + len(leaving) - max(0, wanted.get(key, 0))
        leaving.sort(key=lambda unit: (unit.since, unit.id))
        retire += [unit.id for unit in leaving[: max(0, spare)]]
    return Plan(tuple(start), tuple(retire), wake)


def _surplus(units: list[Unit], number: int) -> list[Unit]:
    keep_first = sorted(units, key=lambda unit: (unit.phase == "starting", unit.since, unit.id))
    return keep_first[number:]
