"""What the kernel says of a process and its descendants: CPU, memory, whether it stands still; only reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STOPPED = (b"T", b"t")
_WORKING = (b"R", b"D")  # on a core or waiting for one; waiting for a disk


@dataclass(frozen=True, slots=True)
class Vitals:
    """Sums over the processes: CPU seconds used so far, resident bytes (shared pages count in each).

    `stopped`: one of them was stopped by a signal or a debugger.
    """

    cpu_s: float
    rss: int
    stopped: bool


def vitals(pid: int, *, tree: bool = False) -> Vitals | None:
    """Of one process, or of all its descendants too; None where there is no process any more."""
    cpu_s, rss, stopped, found = 0.0, 0, False, False
    for each in _processes(pid, tree):
        stat = _stat(f"/proc/{each}/stat")
        if stat is None or stat[0] in (b"Z", b"X"):
            continue
        found = True
        cpu_s += (int(stat[11]) + int(stat[12])) / _TICK  # proc(5), fields 14 and 15
        rss += int(stat[21]) * _PAGE  # field 24
        stopped = stopped or stat[0] in _STOPPED
    return Vitals(cpu_s, rss, stopped) if found else None


def working(pid: int, *, tree: bool = False) -> bool:
    """Whether a thread runs, waits for a core or for a disk: a missing answer is no sign of a deadlock then."""
    return any(state in _WORKING for each in _processes(pid, tree) for state in _threads(each))


def descendants(pid: int) -> list[int]:
    """Children, their children and so on; those that end meanwhile may be missing."""
    found: list[int] = []
    due = [pid]
    while due:
        parent = due.pop()
        for task in _listed(f"/proc/{parent}/task"):
            children = _read(f"/proc/{parent}/task/{task}/children").split()
            found += (numbers := [int(child) for child in children])
            due += numbers
    return found


def _processes(pid: int, tree: bool) -> tuple[int, ...]:
    return (pid, *descendants(pid)) if tree else (pid,)


def _threads(pid: int) -> Iterator[bytes]:
    for task in _listed(f"/proc/{pid}/task"):
        stat = _stat(f"/proc/{pid}/task/{task}/stat")
        if stat is not None:
            yield stat[0]


def _stat(path: str) -> list[bytes] | None:
    """The fields behind the name, which may itself hold blanks and brackets; field 3 is the first."""
    return _read(path).rpartition(b")")[2].split() or None


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
