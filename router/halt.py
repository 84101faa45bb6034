"""Cancels tasks until they have ended; decides nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

AGAIN_S = 0.1


async def halt(tasks: Collection[asyncio.Task[Any]] | Callable[[], Collection[asyncio.Task[Any]]]) -> None:
    """Returns when all `tasks` are done; what they raised is left in them. A function is asked each time.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, which redis' client uses for every command,
    loses a cancellation that arrives together with the result.
    """
    while pending := {task for task in (tasks() if callable(tasks) else tasks) if not task.done()}:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_S)
