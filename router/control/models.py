"""Models over HTTP: versions, route, replicas and acknowledgements as one picture; changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.roles import Verb
from router.control.answer import answer
from router.control.away import answering
from router.control.body import integer, only
from router.control.plane import model_of, plane_of, principal_of
from router.control.routers import standing
from router.control.routes import unknown_model
from router.documents import ModelState, Route, RouterLease
from router.names import version_order
from router.registry.registry import Registry
from router.route.transition import WHOLE

PAGE = 1000
TOGETHER = 32  # models whose versions are read at once


async def all_models(request: Request) -> Response:
    """A page of the models one may read, by name; `next` is the cursor of the following page, or null."""
    registry = plane_of(request).registry
    only(request, "limit", "cursor")
    limit = integer(request, "limit", PAGE, 1, PAGE)
    after = request.query_params.get("cursor", "")
    may = principal_of(request).may
    async with answering():
        names = [name for name in await registry.models() if name > after and may(Verb.READ, name)]
        found = await pictures(registry, names[:limit])
    following = names[limit - 1] if len(names) > limit else None
    return answer({"models": found, "next": following})


async def one_model(request: Request) -> Response:
    """One model."""
    registry, model = plane_of(request).registry, model_of(request)
    only(request)
    async with answering():
        if not await registry.exists(model):
            raise unknown_model(model)
        found = (await pictures(registry, [model]))[0]
    route = found["route"]
    return answer(found, headers={"etag": f'"{route.epoch if route else 0}"'})


async def pictures(registry: Registry, models: list[str]) -> list[dict[str, Any]]:
    """The outward documents of `models`, in their order."""
    states = await registry.model_states(models)
    now, leases = await registry.routers()
    found = []
    for start in range(0, len(states), TOGETHER):
        group = states[start : start + TOGETHER]
        documents = await asyncio.gather(*(registry.versions(state.model) for state in group))
        found += [
            picture(state, versions, leases, now) for state, versions in zip(group, documents, strict=True)
        ]
    return found


def picture(
    state: ModelState, versions: dict[str, dict[str, Any]], leases: list[RouterLease], now_ms: int
) -> dict[str, Any]:
    """One model's outward document."""
    epoch = state.route.epoch if state.route else 0
    return {
        "model": state.model,
        "versions": [_version(state, versions[name]) for name in sorted(versions, key=version_order)],
        "route": state.route,
        "replicas": state.replicas,
        "acknowledgements": [
            standing(lease, now_ms) | {"acknowledged": lease.took(state.model, epoch)} for lease in leases
        ],
    }


def _version(state: ModelState, document: dict[str, Any]) -> dict[str, Any]:
    """A version's summary. Whether it serves is never stored: the route says it."""
    version = document["version"]
    ready = sum(r.version == version and r.state == "ready" for r in state.replicas)
    return {
        "version": version,
        "state": "registered",
        "serves": state.route is not None and version in state.route.targets(),
        "share": _share(state.route, version),
        "replicas": {"desired": state.desired.get(version, 0), "ready": ready},
        "runtime": document["runtime"],
        "digest": document["digest"],
        "rowwise": document["rowwise"],
        "signature": document["signature"],
        "metrics": document.get("metrics"),
    }


def _share(route: Route | None, version: str) -> float:
    """Percent of the requests without pin and rule."""
    if route is None:
        return 0.0
    if route.weights is not None:
        return route.weights.get(version, 0.0)
    return float(WHOLE) if version == route.active else 0.0


PATHS = [Path("/models", all_models), Path("/models/{model}", one_model)]
