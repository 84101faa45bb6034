"""Restarts over HTTP: handed to `up` of this host, which does one at a time; tells how far it is."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.agent.intercom import Silent, ask_once
from router.agent.restart import SOCKET, What
from router.control.answer import answer
from router.control.away import answering
from router.control.body import only, read_form
from router.control.plane import Plane, plane_of
from router.control.routes import unknown_model
from router.control.versions import require_version
from router.errors import BadInput, Conflict, Unavailable
from router.names import check_name


class Restart(msgspec.Struct, frozen=True):
    """Body of a restart; model and version narrow down replicas."""

    what: What
    model: str | None = None
    version: str | None = None


async def begin(request: Request) -> Response:
    """Begins a restart; 202 with its document. One runs at a time: else 409 `restart_running`."""
    plane = plane_of(request)
    only(request)
    form = await read_form(request, Restart)
    await _check(plane, form)
    found = await _ask(plane, {"ask": "restart", **msgspec.to_builtins(form)})
    if found["refused"]:
        running = found["restart"]
        raise Conflict(
            f"a restart of {running['what']} runs since {running['began']}: wait for its end",
            code="restart_running",
        )
    return answer({"restart": found["restart"]}, 202)


async def progress(request: Request) -> Response:
    """The restart that runs, else the last one since `up` began, else null."""
    only(request)
    found = await _ask(plane_of(request), {"ask": "progress"})
    return answer({"restart": found["restart"]})


async def _check(plane: Plane, form: Restart) -> None:
    if form.model is not None and form.what != "replicas":
        raise BadInput("only replicas are restarted by model", field="model")
    if form.version is not None and form.model is None:
        raise BadInput("a version is named with its model", field="version")
    if form.model is None:
        return
    model = check_name(form.model, "model")
    async with answering():
        if form.version is not None:
            await require_version(plane, model, check_name(form.version, "version"))
        elif not await plane.registry.exists(model):
            raise unknown_model(model)


async def _ask(plane: Plane, question: dict[str, Any]) -> dict[str, Any]:
    try:
        return await ask_once(plane.runtime_dir / f"{SOCKET}.sock", question)
    except Silent as error:
        raise Unavailable(f"`pointsman up` of this host cannot be asked: {error}", code="up_away") from error


PATHS = [
    Path("/restart", begin, methods=["POST"]),
    Path("/restart", progress),
]
