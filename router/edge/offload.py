"""Large bodies are decoded and encoded in a process beside the router: its loop must not stand still for them."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from time import monotonic
from typing import Any, TypeVar

import structlog

from router.agent import prctl
from router.errors import DeadlineExceeded, Unavailable

log = structlog.get_logger(__name__)

HEAVY = 64 << 10  # bytes of JSON, or of tensors to become JSON, that are too many for the loop
WAITING = 16  # such bodies at a time: each may be as large as the limit of a body

Value = TypeVar("Value")


class Offload:
    """One worker process, started by the first large body; ends with the router, however that ends."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._waiting = 0

    async def run(self, deadline: float, work: Callable[..., Value], *args: Any) -> Value:
        """`work(*args)` in the worker; all must be picklable. `deadline` is a reading of `time.monotonic`.

        Raises what `work` raises, Unavailable `overloaded` where too many wait, DeadlineExceeded.
        """
        if self._waiting >= WAITING:
            raise Unavailable(f"{WAITING} large bodies wait to be read", code="overloaded")
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline - monotonic()):
                return await self._run(work, *args)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while a large body was read") from error
        finally:
            self._waiting -= 1

    async def _run(self, work: Callable[..., Value], *args: Any) -> Value:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._started(), work, *args)
        except BrokenProcessPool:
            log.error("offload_worker_died")
            self.close()
            return await loop.run_in_executor(self._started(), work, *args)

    def close(self) -> None:
        """Ends the worker."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned, not forked: a copy of a running loop and its sockets is nothing to work in.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_begin)
        return self._pool


def _begin() -> None:
    """In the worker: it dies with its router and leaves Ctrl-C to others."""
    prctl.signal_at_parents_death(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
