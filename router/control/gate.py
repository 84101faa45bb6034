"""Lets a request in by its bearer key: a pure ASGI layer around everything; it knows no path but the open ones."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from router.agent.key import same
from router.control.answer import refusal
from router.errors import Unauthorized

OPEN = frozenset({"/livez", "/readyz"})


class Gate:
    """Answers 401 to all that does not carry the key, also where there is nothing behind it.

    It looks at the scope's path, the one that is routed: a Host header can make `request.url.path` another.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers itself."""
        if scope["type"] == "http" and scope["path"] not in OPEN and not self._admits(scope):
            given = any(name == b"authorization" for name, _ in scope["headers"])
            error = Unauthorized(
                "the key is not known here" if given else "this address needs `Authorization: Bearer KEY`"
            )
            await refusal(error)(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].decode("latin-1").partition(" ")
        return scheme.lower() == "bearer" and same(token.strip(), self._key)
