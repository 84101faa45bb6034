"""The history of a route over HTTP: who made it what, when and why."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.control.answer import answer
from router.control.away import answering
from router.control.body import integer, only
from router.control.plane import model_of, plane_of
from router.control.routes import unknown_model
from router.registry.registry import Registry

PAGE = 100
MOST = 1000
POSITION = 10**15


async def history(request: Request) -> Response:
    """Changes of a route, oldest first; `next` is the cursor of the following page, or null.

    With `?epoch=N` only the change that made that epoch.
    """
    registry, model = plane_of(request).registry, model_of(request)
    only(request, "limit", "cursor", "epoch")
    limit = integer(request, "limit", PAGE, 1, MOST)
    start = integer(request, "cursor", 0, 0, POSITION)
    epoch = integer(request, "epoch", 0, 0, POSITION)
    async with answering():
        if not await registry.exists(model):
            raise unknown_model(model)
        if epoch:
            return answer({"history": await _of_epoch(registry, model, epoch), "next": None})
        entries = await registry.history(model, start, limit + 1)
    following = str(start + limit) if len(entries) > limit else None
    return answer({"history": entries[:limit], "next": following})


async def _of_epoch(registry: Registry, model: str, epoch: int) -> list[dict[str, Any]]:
    """The entry that made `epoch`, as a list of one or none. Epochs only grow along the history."""
    low, step = 0, 1
    while (probe := await registry.history(model, low + step, 1)) and probe[0]["epoch"] <= epoch:
        low, step = low + step, step * 2
    high = low + step
    while high - low > MOST:
        middle = (low + high) // 2
        probe = await registry.history(model, middle, 1)
        if probe and probe[0]["epoch"] <= epoch:
            low = middle
        else:
            high = middle
    return [entry for entry in await registry.history(model, low, high - low) if entry["epoch"] == epoch]


PATHS = [Path("/models/{model}/history", history)]
