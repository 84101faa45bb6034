"""The replica's ASGI front: answers /_pm/ itself, hands all else to BentoML's app.

The lane goes round BentoML's middlewares (half of a request's CPU) with the very same session object. What
our routers send does not even come here (services/protocol.py); any other spelling of it does.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services import lane as limits
from services.asgi import AsgiApp, Receive, Scope, Send
from services.lane import Lane, Reply, refuse

FRAME: Final = b"application/x-pointsman-frame"
JSON: Final = b"application/json"


class Front:
    """ASGI app in front of `app`, with `lane` under /_pm/."""

    def __init__(self, app: AsgiApp, lane: Lane) -> None:
        self._app = app
        self.lane = lane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/_pm/"):
            await self._app(scope, receive, send)
            return
        asked = (scope["method"], scope["path"])
        if asked == ("POST", "/_pm/infer"):
            reply = await self._infer(receive)
            if reply is None:
                return
        else:
            reply = self._other(*asked)
        kind = FRAME if reply.status == 200 and asked[0] == "POST" else JSON
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(reply.body))]
        # After a 413 unread bytes are under way; while draining no next request may come on this connection.
        if self.lane.draining or reply.status == 413:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _infer(self, receive: Receive) -> Reply | None:
        """None where the caller hung up before its request was complete."""
        arrived = self.lane.clock()
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limits.MAX_BODY:
                return refuse(413, "too_large", f"a frame may have {limits.MAX_BODY} bytes")
            if not message.get("more_body", False):
                break
        reply = self.lane.infer(parts[0] if len(parts) == 1 else b"".join(parts), arrived)
        return reply if isinstance(reply, Reply) else await reply

    def _other(self, method: str, path: str) -> Reply:
        if (method, path) == ("GET", "/_pm/stats"):
            return Reply(200, msgspec.json.encode(self.lane.session.stats))
        if path in ("/_pm/infer", "/_pm/stats"):
            return refuse(405, "method_not_allowed", f"{method} is not allowed here")
        return refuse(404, "not_found", "there is nothing here")
