"""What all handlers of one control process share; it holds, it does not act."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request

from router.control.acknowledgement import Acknowledgements
from router.errors import NotFound, Unavailable
from router.journal.reader import Reader
from router.names import NAME
from router.registry.audit import Actor
from router.registry.registry import Registry
from router.settings import Settings

INSPECTIONS = 2
UPLOADS = 4
LOG_READS = 2
TURN_S = 1.8
PROBE_S = 0.2


@dataclass(slots=True)
class Plane:
    """Registry, acknowledgements, log and limits of this process."""

    settings: Settings
    registry: Registry
    acknowledgements: Acknowledgements
    reader: Reader
    runtime_dir: Path
    node: str
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))
    inspections: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(INSPECTIONS))
    log_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOG_READS))
    registering: set[tuple[str, str]] = field(default_factory=set)
    _turns: weakref.WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=weakref.WeakValueDictionary
    )

    @asynccontextmanager
    async def turn(self, model: str) -> AsyncIterator[None]:
        """One change of a model at a time in this process: races are for other processes' changes."""
        lock = self._turns.setdefault(model, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_S):
                await lock.acquire()
        except TimeoutError:
            # Either many are before us, or the first of them waits for Redis in vain.
            async with asyncio.timeout(PROBE_S):
                await self.registry.revision()
            raise Unavailable(
                f"too many changes of model {model} at once; nothing was changed", code="contended"
            ) from None
        try:
            yield
        finally:
            lock.release()


def make_plane(settings: Settings, registry: Registry) -> Plane:
    """The plane of a process, from its settings and the environment that `up` gives."""
    runtime_dir = os.environ.get("POINTSMAN_RUNTIME_DIR")
    return Plane(
        settings=settings,
        registry=registry,
        acknowledgements=Acknowledgements(registry, settings.ack_timeout_ms / 1000),
        reader=Reader(settings.data_dir / "journal"),
        runtime_dir=Path(runtime_dir) if runtime_dir else settings.data_dir,
        node=os.environ.get("POINTSMAN_NODE", ""),
    )


def plane_of(request: Request) -> Plane:
    """The plane behind a request."""
    found: Plane = request.app.state.plane
    return found


def model_of(request: Request) -> str:
    """The model a path names; NotFound for what can be no model's name."""
    return _named(request, "model")


def version_of(request: Request) -> str:
    """The version a path names; NotFound for what can be no version's name."""
    return _named(request, "version")


def actor_of(_: Request, reason: str | None) -> Actor:
    """Who asks. There is one key yet, and it is the administrator's."""
    return Actor(name="admin", auth="key", reason=reason)


def _named(request: Request, kind: str) -> str:
    name: str = request.path_params[kind]
    if NAME.match(name) is None:
        raise NotFound(f"there is no {kind} {name[:80]!r}", code=f"unknown_{kind}", field=kind)
    return name
