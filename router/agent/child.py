"""One process that `up` keeps running: started, watched, started again with back-off, stopped when asked."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from router.agent.backoff import Backoff
from router.agent.logs import LOG_BYTES, cut
from router.agent.process import Process

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Launch:
    """What one start runs: the command, and the descriptors it inherits. `id` where each start has its own.

    `dies_with_us`: the kernel kills it with us; not for those that have something to see to at our end.
    """

    argv: list[str]
    fds: tuple[int, ...]
    id: str = ""
    dies_with_us: bool = True


class Child:
    """Keeps one process running until `stop`. `changed` is called at each start and each end."""

    def __init__(
        self,
        name: str,
        launch: Callable[[], Launch],
        *,
        env: Mapping[str, str],
        log: Path,
        changed: Callable[[Child], None],
    ) -> None:
        self.name = name
        self.id = ""
        self.log = log
        self.process: Process | None = None
        self.backoff = Backoff()
        self._launch = launch
        self._env = env
        self._changed = changed
        self._stopping = asyncio.Event()
        self._renewing = False

    @property
    def pid(self) -> int | None:
        """Of the running process; None between two."""
        return self.process.pid if self.process is not None and self.process.running else None

    async def keep(self) -> None:
        """Runs until `stop` was called. A start that fails (no memory, no file) counts as an end."""
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                status = await self._once()
            except OSError as error:
                status = None
                _log.error("start_failed", child=self.name, error=str(error))
            if self._stopping.is_set():
                return
            if self._renewing:
                self._renewing = False
                continue
            self.backoff = self.backoff.after(time.monotonic() - began)
            delay = self.backoff.delay_s
            _log.warning(
                "child_ended",
                child=self.name,
                id=self.id,
                status=status,
                ended=self.backoff.ended,
                delay=delay,
            )
            self._changed(self)
            if delay:
                await _until(self._stopping, delay)

    async def stop(self, grace: float, hurry: asyncio.Event) -> bool:
        """SIGTERM, SIGKILL after `grace` seconds (1 s after `hurry`); True where it ended by itself."""
        self._stopping.set()
        process = self.process
        if process is None or not process.running:
            return True
        process.send(signal.SIGTERM)
        hurried = asyncio.ensure_future(hurry.wait())
        either: set[asyncio.Future[Any]] = {hurried, process.exited}
        await asyncio.wait(either, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if await process.wait(min(grace, 1.0) if hurry.is_set() else 0):
            return True
        _log.warning("child_killed", child=self.name, pid=process.pid)
        process.send(signal.SIGKILL)
        await process.wait(2.0)
        return False

    async def renew(self, number: int, grace: float) -> bool:
        """Sends a signal that asks for the end, SIGKILL after `grace` seconds; `keep` starts the next at once.

        True where it ended by itself.
        """
        process = self.process
        if process is None or not process.running:
            return True
        self._renewing = True
        process.send(number)
        if await process.wait(grace):
            return True
        _log.warning("child_killed", child=self.name, pid=process.pid)
        process.send(signal.SIGKILL)
        await process.wait(2.0)
        return False

    async def _once(self) -> int | None:
        launch = self._launch()
        self.id = launch.id
        cut(self.log, LOG_BYTES)
        self.process = Process.start(
            launch.argv, env=self._env, log=self.log, fds=launch.fds, dies_with_us=launch.dies_with_us
        )
        _log.info("child_started", child=self.name, id=self.id, pid=self.process.pid)
        self._changed(self)
        return await asyncio.shield(self.process.exited)


async def _until(event: asyncio.Event, timeout: float) -> None:
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({waiting}, timeout=timeout)
    waiting.cancel()
