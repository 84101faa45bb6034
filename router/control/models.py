"""Models over HTTP: versions, route, replicas and acknowledgements as one picture; changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.roles import Verb
from router.catalog.shelf import Shelf, Summary, care, summary
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
        stored = await asyncio.gather(*(plane.registry.raw_versions(model) for model in group))
        for model, documents in zip(group, stored, strict=True):
            found = sorted(map(summary, documents), key=lambda each: version_order(each.version))
            known[model] = (found, None)
    wall = time.time()
    return [picture(state, *known[state.model], leases, now, wall) for state in states]


async def _indexed(plane: Plane, models: list[str]) -> dict[str, tuple[Sequence[Summary], Shelf | None]]:
    """What the index has of these models; nothing where it is not ready in time."""
    try:
        await plane.catalog.fresh(WITHIN_S)
    except Unavailable:
        return {}
    shelves = plane.catalog.shelves
    documents = await plane.catalog.ask(lambda index: index.summaries([m for m in models if m in shelves]))
    return {model: (found, shelves[model]) for model, found in documents.items()}


def picture(
    state: ModelState,
    versions: Sequence[Summary],
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
        "versions": _versions(state, versions, shelf),
        "route": state.route,
        "replicas": state.replicas,
        "acknowledgements": [
            standing(lease, now_ms) | {"acknowledged": lease.took(state.model, epoch)} for lease in leases
        ],
    }


def _versions(state: ModelState, versions: Sequence[Summary], shelf: Shelf | None) -> list[dict[str, Any]]:
    """Summaries of the versions. Whether one serves is never stored: the route says it."""
    serving = frozenset[str]() if state.route is None else state.route.targets()
    ready = Counter(replica.version for replica in state.replicas if replica.state == "ready")
    addenda = {} if shelf is None else shelf.addenda
    return [
        {
            "version": each.version,
            "state": "registered",
            "serves": each.version in serving,
            "share": share(state.route, each.version),
            "replicas": {"desired": state.desired.get(each.version, 0), "ready": ready[each.version]},
            "runtime": each.runtime,
            "digest": each.digest,
            "rowwise": each.rowwise,
            "signature": each.signature,
            "metrics": each.metrics,
            "registered": None if each.registered is None else each.registered.time,
            "tags": addenda[each.version].tags if each.version in addenda else {},
        }
        for each in versions
    ]


def share(route: Route | None, version: str) -> float:
    """Percent of the requests without pin and rule."""
    if route is None:
        return 0.0
    if route.weights is not None:
        return route.weights.get(version, 0.0)
    return float(WHOLE) if version == route.active else 0.0


PATHS = [Path("/models", all_models), Path("/models/{model}", one_model)]
