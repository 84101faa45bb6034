"""A path beside the predictions: a function from a request to a JSON document, and errors in their one form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router.edge.answer import JSON, failure
from router.edge.inbound import Disconnected, Inbound, read_body
from router.errors import PointsmanError
from router.settings import Settings

BODY_BYTES = 64 << 10  # of the few paths here that take a body

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Awaitable[Any]]
"""Gives the document of a 200; raises PointsmanError for everything else."""


def endpoint(path: str, handler: Handler, method: str = "GET") -> Route:
    """A Starlette route that answers with what `handler` gives."""

    async def answered(request: Request) -> Response:
        try:
            return Response(orjson.dumps(await handler(request)), media_type="application/json")
        except PointsmanError as error:
            return refused(error)
        except Disconnected:
            return Response(status_code=400)  # nobody is there to read it

    return Route(path, answered, methods=[method])


def refused(error: PointsmanError) -> Response:
    """The outward form of an error."""
    answer = failure(error)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, media_type=JSON.decode())


async def body_of(request: Request, settings: Settings) -> bytes:
    """The whole body, at most 64 KiB, within the time to receive one. Raises TooLarge, DeadlineExceeded."""
    deadline = monotonic() + settings.receive_timeout_ms / 1e3
    return await read_body(Inbound.of(request.scope), request.receive, BODY_BYTES, deadline)
