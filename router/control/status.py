"""The whole installation on one page: Redis, agent, routers, replicas, models."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.roles import Verb
from router.control.answer import answer
from router.control.away import answering
from router.control.body import only
from router.control.models import PAGE, pictures
from router.control.plane import Plane, plane_of, principal_of
from router.control.processes import PROCESSES, noted
from router.control.routers import standing
from router.quarantine import items
from router.registry.connection import without_password


async def status(request: Request) -> Response:
    """What `pointsman status --json` prints; of models and their replicas, those one may read."""
    may = principal_of(request).may
    plane = plane_of(request)
    only(request)
    processes = noted(plane.runtime_dir, PROCESSES)
    async with answering():
        revision = await plane.registry.revision()
        now, leases = await plane.registry.routers()
        names = [name for name in await plane.registry.models() if may(Verb.READ, name)]
        models = await pictures(plane, names[:PAGE])
        redis = await _redis(plane, processes)
    document = {
        "revision": revision,
        "redis": redis,
        "agent": processes.get("agent", {"pid": None}),
        "routers": [standing(lease, now) for lease in leases],
        "replicas": [replica for model in models for replica in model["replicas"]],
        "models": models,
        "quarantine": [item.document() for item in items(plane.settings.data_dir)],
    }
    others = {name: processes[name] for name in ("up", "control", "shipper") if name in processes}
    return answer(document | others)


async def livez(_: Request) -> Response:
    """This process answers."""
    return answer({"live": True})


async def readyz(request: Request) -> Response:
    """Whether changes could be made: Redis answers."""
    async with answering(1.0):
        revision = await plane_of(request).registry.revision()
    return answer({"ready": True, "revision": revision})


async def _redis(plane: Plane, processes: dict[str, Any]) -> dict[str, Any]:
    """Pid and place of Redis: from `up` where it started it, else from the server itself."""
    found = dict(processes.get("redis", {}))
    if not found.keys() & {"socket", "url"}:
        found["url"] = without_password(plane.settings.redis_url or "")
    if found.get("pid") is None:
        found["pid"] = int((await plane.registry.server("server"))["process_id"])
    return found


PATHS = [Path("/status", status)]
