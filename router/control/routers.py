"""The known routers over HTTP, and the forgetting of one that will not come back."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.control.answer import answer
from router.control.away import answering
from router.control.body import only
from router.control.plane import plane_of
from router.documents import RouterLease
from router.errors import NotFound


async def known(request: Request) -> Response:
    """Every known router, also those of which nothing was heard for longer than their lease."""
    registry = plane_of(request).registry
    only(request)
    async with answering():
        revision = await registry.revision()
        now, leases = await registry.routers()
    return answer({"revision": revision, "routers": [standing(lease, now) for lease in leases]})


async def forget(request: Request) -> Response:
    """Takes a router out of the known ones; one that lives acknowledges again and is back."""
    name = request.path_params["router"]
    only(request)
    async with answering() as sent:
        sent.maybe = True
        if not await plane_of(request).registry.forget_router(name):
            raise NotFound(f"there is no router {name[:80]}", code="unknown_router")
    return answer({"id": name, "forgotten": True})


def standing(lease: RouterLease, now_ms: int) -> dict[str, Any]:
    """A router as the outside sees it; `state` is `unknown` once its lease has lapsed."""
    lapsed = lease.lapsed(now_ms)
    return {
        "id": lease.id,
        "node": lease.node,
        "pid": lease.pid,
        "revision": lease.revision,
        "state": "unknown" if lapsed else lease.state,
        "lapsed": lapsed,
        "refused": lease.refused,
        "heard_ms": now_ms - lease.seen,
    }


PATHS = [Path("/routers", known), Path("/routers/{router}", forget, methods=["DELETE"])]
