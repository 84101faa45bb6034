"""CPU time and memory of process trees, by group; reads /proc through psutil, signals nobody."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

MIB = 1 << 20

# First match wins: a guard's command line ends with that of what it guards.
GATEWAY_GROUPS = (
    ("router.agent.guard", "agent"),
    ("router.edge", "router"),
    ("router.journal", "shipper"),
    ("router.control", "control"),
    ("router.agent", "agent"),
    ("redis-server", "redis"),
    ("services.launch", "replica"),
    ("bentoml", "replica"),
)

Grouping = Callable[[Sequence[str]], str]


def gateway_group(command: Sequence[str]) -> str:
    """The group of a process of an installation, by its command line."""
    text = " ".join(command)
    return next((group for needle, group in GATEWAY_GROUPS if needle in text), "up")


@dataclass(frozen=True, slots=True)
class Root:
    """A process and all below it; `group` names each by its command line."""

    pid: int
    group: Grouping


@dataclass(frozen=True, slots=True)
class Look:
    """At one moment: CPU seconds and RSS in bytes, by process and group."""

    cpu: dict[tuple[int, str], float]
    rss: dict[tuple[int, str], int]

    def memory(self) -> dict[str, int]:
        """RSS by group: the sum of its processes."""
        found: dict[str, int] = defaultdict(int)
        for (_, group), size in self.rss.items():
            found[group] += size
        return dict(found)

    def of(self, group: str) -> dict[int, int]:
        """RSS by pid of one group."""
        return {pid: size for (pid, name), size in self.rss.items() if name == group}

    def since(self, before: Look) -> dict[str, float]:
        """CPU seconds by group between two looks; what ended between them is not seen."""
        spent: dict[str, float] = defaultdict(float)
        for key, seconds in self.cpu.items():
            spent[key[1]] += seconds - before.cpu.get(key, 0.0)
        return dict(spent)


def look(roots: Sequence[Root]) -> Look:
    """All processes of the trees, now."""
    cpu: dict[tuple[int, str], float] = {}
    rss: dict[tuple[int, str], int] = {}
    for root in roots:
        top = psutil.Process(root.pid)
        for process in (top, *top.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                group = root.group(process.cmdline())
                times = process.cpu_times()
                cpu[process.pid, group] = times.user + times.system
                rss[process.pid, group] = process.memory_info().rss
    return Look(cpu, rss)
