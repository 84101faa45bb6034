"""The data listener: predictions go straight to their handler, everything else through Starlette."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from router.edge.guard import Guard
from router.edge.head import TENSOR_PATHS
from router.edge.inbound import Disconnected, Inbound, Receive, Scope, Send
from router.edge.openapi import BODY_JSON
from router.edge.passthrough import PassThrough
from router.edge.predict import Predict
from router.edge.readiness import Readiness


class Gateway:
    """The ASGI application of a router: the hot paths before Starlette, everything else by it."""

    def __init__(
        self,
        predict: Predict,
        passthrough: PassThrough,
        readiness: Readiness,
        others: list[Route],
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._predict = predict
        self._passthrough = passthrough
        self._readiness = readiness
        self._rest = Starlette(
            routes=[
                Route("/livez", self._livez, methods=["GET"]),
                Route("/readyz", self._readyz, methods=["GET"]),
                Route("/openapi.json", self._openapi, methods=["GET"]),
                *others,
            ],
            exception_handlers={HTTPException: _http_error, Exception: _crash},
        )
        self._rest.router.redirect_slashes = False  # redirects are made from the caller's Host header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "http":
            if self._readiness.draining:
                send = _closing(send)
            path = scope["path"]
            for prefix, suffix, codec, where in TENSOR_PATHS:
                if path.startswith(prefix) and path.endswith(suffix):
                    try:
                        answer = await self._predict(codec, where, scope, receive)
                    except Disconnected:
                        return
                    await answer.send(send)
                    return
            if path.startswith("/models/"):
                await self._passthrough(scope, receive, send)
                return
            inbound = Inbound.of(scope)
            send = _with_request_id(send, inbound.request_id)
            refused = None if self._guard is None else await self._guard.refusal(path, inbound)
            if refused is not None:
                await refused.send(send)
                return
        await self._rest(scope, receive, send)

    async def _livez(self, _: Request) -> Response:
        return JSONResponse({"live": True})

    async def _openapi(self, _: Request) -> Response:
        return Response(BODY_JSON, media_type="application/json")

    async def _readyz(self, _: Request) -> Response:
        missing = self._readiness.missing()
        if missing is None:
            return JSONResponse({"ready": True})
        body = {"error": missing, "code": "not_ready"}
        return JSONResponse(body, 503, headers={"retry-after": "1"})


def _closing(send: Send) -> Send:
    """While draining every answer tells its caller to come back on a new connection."""

    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return wrapped


def _with_request_id(send: Send, request_id: str) -> Send:
    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
        await send(message)

    return wrapped


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "unknown_path", 405: "method_not_allowed"}
    text = (
        f"there is nothing at {request.scope['path'][:200]!r}" if error.status_code == 404 else error.detail
    )
    body = {"error": text, "code": codes.get(error.status_code, "http_error")}
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _crash(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "internal error", "code": "internal"}, 500)
