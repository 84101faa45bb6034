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

from router.access.issuer import Issuer
from router.access.principal import Principal
from router.audit.notary import open_notary
from router.control.acknowledgement import Acknowledgements
from router.control.catalog import Catalog
from router.control.signatures import Signatures
from router.errors import NotFound, Unavailable
from router.journal.reader import Reader
from router.names import NAME
from router.registry.audit import Actor
from router.registry.registry import Registry
from router.settings import Settings
from router.veil import veiled_text

INSPECTIONS = 2
UPLOADS = 4
LOG_READS = 2
AUDITS = 2
TURN_S = 1.8
PROBE_S = 0.2
PRINCIPAL = "principal"  # where the gate leaves it in a request's state


@dataclass(slots=True)
class Plane:
    """Registry, acknowledgements, log and limits of this process."""

    settings: Settings
    registry: Registry
    acknowledgements: Acknowledgements
    reader: Reader
    runtime_dir: Path
    node: str
    issuer: Issuer
    catalog: Catalog
    signatures: Signatures = field(default_factory=Signatures)
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))
    inspections: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(INSPECTIONS))
    log_reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOG_READS))
    audits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AUDITS))
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
    if registry.notary is None:
        registry.notary = open_notary(settings.data_dir)
    return Plane(
        settings=settings,
        registry=registry,
        acknowledgements=Acknowledgements(registry, settings.ack_timeout_ms / 1000),
        reader=Reader(settings.data_dir / "journal"),
        runtime_dir=Path(runtime_dir) if runtime_dir else settings.data_dir,
        node=os.environ.get("POINTSMAN_NODE", ""),
        issuer=Issuer.of(settings),
        catalog=Catalog(registry),
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


def principal_of(request: Request) -> Principal:
    """Who asks, as the gate found."""
    found: Principal = request.scope["state"][PRINCIPAL]
    return found


def actor_of(request: Request, reason: str | None) -> Actor:
    """The same as history and audit name them; a key that slipped into the reason is not written down."""
    principal = principal_of(request)
    return Actor(
        name=principal.name, auth=principal.auth, reason=None if reason is None else veiled_text(reason)
    )


def _named(request: Request, kind: str) -> str:
    name: str = request.path_params[kind]
    if NAME.match(name) is None:
        raise NotFound(f"there is no {kind} {name[:80]!r}", code=f"unknown_{kind}", field=kind)
    return name
