"""Puts the control listener together: paths, key, errors, and the life of what they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Router
from starlette.routing import Route as Path
from starlette.types import ASGIApp

from router.control import (
    additions,
    audit,
    comparison,
    fleet,
    history,
    keys,
    metrics,
    models,
    openapi,
    requests,
    restart,
    restore,
    routers,
    routes,
    status,
    upload,
    versions,
)
from router.control.answer import HANDLERS
from router.control.gate import Gate
from router.control.hardening import Hardened
from router.control.permits import permits
from router.control.plane import Plane
from router.control.witness import Witness
from router.errors import Unavailable
from router.halt import halt
from router.tls import Certificate

API = "/api/v1"

UNDER_API: list[BaseRoute] = [
    *(models.PATHS + versions.PATHS + routes.PATHS + history.PATHS),
    *(requests.PATHS + routers.PATHS + restart.PATHS + status.PATHS + metrics.PATHS + restore.PATHS),
    *(keys.PATHS + audit.PATHS),
    *(additions.PATHS + comparison.PATHS + fleet.PATHS),
]


def control_app(plane: Plane, key: str, served: Certificate | None = None) -> ASGIApp:
    """The ASGI application. Until it ends it keeps `served` up to date; then it closes the plane's registry."""

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(upload.clear, plane.settings.data_dir / "spool")
        tasks = [
            asyncio.create_task(plane.acknowledgements.listen()),
            asyncio.create_task(plane.issuer.follow()),
            asyncio.create_task(witness.follow()),
            asyncio.create_task(_warmed(plane)),
        ]
        if served is not None:
            tasks.append(asyncio.create_task(served.follow()))
        try:
            yield
        finally:
            await halt(tasks)
            await plane.catalog.close()
            await plane.registry.close()

    app = Starlette(
        routes=[
            # No redirects to other slashes: they are made from the caller's Host header.
            Mount(API, app=Router(UNDER_API, redirect_slashes=False)),
            Path("/metrics", metrics.metrics),
            Path("/livez", status.livez),
            Path("/readyz", status.readyz),
            *openapi.PATHS,
        ],
        exception_handlers=HANDLERS,
        lifespan=life,
    )
    app.router.redirect_slashes = False
    app.state.plane = plane
    witness = Witness(Gate(app, key, plane, permits(app.routes)), plane)
    return Hardened(witness)


async def _warmed(plane: Plane) -> None:
    """The index of versions, begun before somebody asks; without Redis the first who asks begins it."""
    with contextlib.suppress(Unavailable):
        await plane.catalog.fresh()
