"""What all predictions of a router share; it decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from router.edge.ledger import Ledger
from router.edge.offload import Offload
from router.edge.shedding import Shedding
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.upstream import Upstream


class Desk:
    """What all predictions of a router share."""

    def __init__(
        self, settings: Settings, watch: Watch, upstream: Upstream, ledger: Ledger, offload: Offload
    ) -> None:
        self.settings = settings
        self.watch = watch
        self.upstream = upstream
        self.ledger = ledger
        self.offload = offload
        self.lag = Shedding(settings.loop_lag_ms)
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on in a task, kept alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
