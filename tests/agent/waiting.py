"""Waiting for a condition with a deadline; nothing here is a test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], timeout: float = 10.0) -> T:
    """The first true value of `condition`; fails after `timeout` seconds. A file not there yet is not true."""
    deadline = time.monotonic() + timeout
    last: object = None
    while time.monotonic() < deadline:
        try:
            if last := condition():
                return last
        except (OSError, KeyError, IndexError) as error:
            last = error
        time.sleep(0.005)
    raise AssertionError(f"not within {timeout} s: {last!r}")


async def soon(condition: Callable[[], T], timeout: float = 10.0) -> T:
    """The same on an event loop."""
    deadline = time.monotonic() + timeout
    last: object = None
    while time.monotonic() < deadline:
        try:
            if last := condition():
                return last
        except (OSError, KeyError, IndexError) as error:
            last = error
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {timeout} s: {last!r}")


def alive(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False
