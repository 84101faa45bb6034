"""The outward forms of the control listener: JSON documents and errors; it decides nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from router.errors import BadInput, MethodNotAllowed, NotFound, PointsmanError, Unauthorized

log = structlog.get_logger()


def answer(document: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`document` (JSON values and msgspec structs) as a JSON answer."""
    return Response(msgspec.json.encode(document), status, headers, media_type="application/json")


def refusal(error: PointsmanError) -> Response:
    """An error in its one form, with the headers its status asks for."""
    headers = {}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = 'Bearer realm="pointsman"'
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.closes:
        headers["connection"] = "close"
    return answer(error.body(), error.status, headers)


async def on_refusal(_: Request, error: Exception) -> Response:
    """Answers with an error that this product raised."""
    assert isinstance(error, PointsmanError)
    return refusal(error)


async def on_http(request: Request, error: Exception) -> Response:
    """Puts Starlette's own refusals (no such path, no such method) into the same form."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 404:
        return refusal(NotFound(f"there is nothing at {path}"))
    if error.status_code == 405:
        method = f"{request.method} is not offered at {path}"
        found = refusal(MethodNotAllowed(method))
        found.headers.update(error.headers or {})
        return found
    return answer({"error": error.detail, "code": "bad_input"}, error.status_code)


async def on_hang_up(_: Request, __: Exception) -> Response:
    """The caller is gone; the answer is for the log of whoever stands between."""
    return refusal(BadInput("the caller hung up before the whole request was there", code="hung_up"))


async def on_fault(request: Request, error: Exception) -> Response:
    """A fault of ours: generic outwards, the whole of it in the operational log."""
    log.error("control_fault", path=request.scope["path"], exc_info=error)
    return refusal(PointsmanError("an internal error; the control process' log has the details"))


HANDLERS: dict[Any, Any] = {
    PointsmanError: on_refusal,
    HTTPException: on_http,
    ClientDisconnect: on_hang_up,
    Exception: on_fault,
}
