"""Models over HTTP: versions, route, replicas and acknowledgements as one picture; changes nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.roles import Verb
from router.catalog.shelf import Shelf, care
from router.control.answer import answer
from router.control.away import answering
from router.control.body import integer, only
from router.control.plane import Plane, model_of, plane_of, principal_of
from router.control.routers import standing
from router.control.routes import unknown_model
from router.documents import ModelState, Route, RouterLease
from router.errors import Unavailable
from router.names import version_order
from router.route.transition import WHOLE

PAGE = 1000
TOGETHER = 32  # models whose versions are read at once
WITHIN_S = 0.5  # longest wait for the index: Redis has all but the keepers' part

Documents = dict[str, dict[str, Any]]
"""Version documents of a model by version."""


async def all_models(request: Request) -> Response:
    """A page of the models one may read, by name; `next` is the cursor of the following page, or null."""
    registry = plane_of(request).registry
    only(request, "limit", "cursor")
    limit = integer(request, "limit", PAGE, 1, PAGE)
    after = request.query_params.get("cursor", "")
    may = principal_of(request).may
    async with answering():
        names = [name for name in await registry.models() if name > after and may(Verb.READ, name)]
        found = await pictures(plane_of(request), names[:limit])
    following = names[limit - 1] if len(names) > limit else None
    return answer({"models": found, "next": following})


async def one_model(request: Request) -> Response:
    """One model."""
    registry, model = plane_of(request).registry, model_of(request)
    only(request)
    async with answering():
        if not await registry.exists(model):
            raise unknown_model(model)
        found = (await pictures(plane_of(request), [model]))[0]
    route = found["route"]
    return answer(found, headers={"etag": f'"{route.epoch if route else 0}"'})


async def pictures(plane: Plane, models: list[str]) -> list[dict[str, Any]]:
    """The outward documents of `models`, in their order."""
    states = await plane.registry.model_states(models)
    now, leases = await plane.registry.routers()
    known = await _indexed(plane, models)
    lacking = [model for model in models if model not in known]
    for start in range(0, len(lacking), TOGETHER):
        group = lacking[start : start + TOGETHER]
        documents = await asyncio.gather(*(plane.registry.versions(model) for model in group))
        known |= {model: (found, None) for model, found in zip(group, documents, strict=True)}
    wall = time.time()
    return [picture(state, *known[state.model], leases, now, wall) for state in states]


async def _indexed(plane: Plane, models: list[str]) -> dict[str, tuple[Documents, Shelf | None]]:
    """What the index has of these models; nothing where it is not ready in time."""
    try:
        await plane.catalog.fresh(WITHIN_S)
    except Unavailable:
        return {}
    shelves = plane.catalog.shelves
    documents = await plane.catalog.ask(lambda index: index.documents([m for m in models if m in shelves]))
    return {model: (found, shelves[model]) for model, found in documents.items()}


def picture(
    state: ModelState,
    versions: Documents,
    shelf: Shelf | None,
    leases: list[RouterLease],
    now_ms: int,
    now: float,
) -> dict[str, Any]:
    """One model's outward document; `care` is null where the index is not there yet."""
    epoch = state.route.epoch if state.route else 0
    return {
        "model": state.model,
        "care": None if shelf is None else care(replace(shelf, state=state), now),
        "versions": [_version(state, versions[name], shelf) for name in sorted(versions, key=version_order)],
        "route": state.route,
        "replicas": state.replicas,
        "acknowledgements": [
            standing(lease, now_ms) | {"acknowledged": lease.took(state.model, epoch)} for lease in leases
        ],
    }


def _version(state: ModelState, document: dict[str, Any], shelf: Shelf | None) -> dict[str, Any]:
    """A version's summary. Whether it serves is never stored: the route says it."""
    version = document["version"]
    ready = sum(r.version == version and r.state == "ready" for r in state.replicas)
    return {
        "version": version,
        "state": "registered",
        "serves": state.route is not None and version in state.route.targets(),
        "share": share(state.route, version),
        "replicas": {"desired": state.desired.get(version, 0), "ready": ready},
        "runtime": document["runtime"],
        "digest": document["digest"],
        "rowwise": document["rowwise"],
        "signature": document["signature"],
        "metrics": document.get("metrics"),
        "registered": (document.get("registered") or {}).get("time"),
        "tags": shelf.addenda[version].tags if shelf is not None and version in shelf.addenda else {},
    }


def share(route: Route | None, version: str) -> float:
    """Percent of the requests without pin and rule."""
    if route is None:
        return 0.0
    if route.weights is not None:
        return route.weights.get(version, 0.0)
    return float(WHOLE) if version == route.active else 0.0


PATHS = [Path("/models", all_models), Path("/models/{model}", one_model)]
