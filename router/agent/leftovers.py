"""Processes that outlived their parent: those of an `up` that was killed, and orphans handed to this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
import psutil
import structlog

from router.agent import snapshot
from router.agent.place import Place
from router.agent.process import Process, start_ticks

PATIENCE_S = 3.5
"""A little more than the 3 s within which everything ends by itself once its `up` is gone."""

_log = structlog.get_logger()


async def gone(place: Place) -> None:
    """Returns when nothing of the `up` before this one runs any more; after 3.5 s it kills what does."""
    deadline = time.monotonic() + PATIENCE_S
    for pid, ticks in set(_noted(place)):
        process = Process.adopt(pid, ticks)
        if process is None:
            continue
        if not await process.wait(max(0.0, deadline - time.monotonic())):
            _log.warning("leftover_killed", pid=pid)
            process.send(signal.SIGKILL)
            await process.wait(2.0)
        process.close()


def note(pid: int | None) -> list[list[int]]:
    """A process as it is noted for `gone`: `[[pid, start ticks]]`, empty where there is none."""
    ticks = None if pid is None else start_ticks(pid)
    return [] if pid is None or ticks is None else [[pid, ticks]]


def orphans(known: Collection[int]) -> Iterator[psutil.Process]:
    """Children that this process did not start itself: replicas of an agent that died.

    Whatever `up` or the agent start has a session of its own; a child in our session is the caller's.
    """
    mine = os.getsid(0)
    for child in psutil.Process().children():
        with contextlib.suppress(ProcessLookupError):
            if child.pid not in known and os.getsid(child.pid) != mine:
                yield child


def reap(known: Collection[int]) -> None:
    """Collects orphans that have ended; without it they stay as zombies."""
    for child in orphans(known):
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


async def kill(known: Collection[int]) -> None:
    """Ends all orphans, at the very end of `up`."""
    for child in orphans(known):
        _log.warning("orphan_killed", pid=child.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    deadline = time.monotonic() + 1.0
    while list(orphans(known)) and time.monotonic() < deadline:
        reap(known)
        await asyncio.sleep(0.01)


def _noted(place: Place) -> Iterator[tuple[int, int]]:
    for path in [place.processes, *place.replica_files.glob("*.json")]:
        try:
            found: Any = snapshot.read(path)
            started = msgspec.convert((found or {}).get("started", []), list[tuple[int, int]])
        except (ValueError, AttributeError, OSError) as error:
            _log.error("replica_file_unreadable", path=str(path), error=str(error))
            continue  # its process ends by itself with the pipe
        yield from started
