"""The data listener's connection: an upgrade to WebSocket under `/models/` becomes a tunnel to a replica."""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any

import httptools

from router.edge.tunnel import Tunnels
from router.upstream.pipe import Pipe
from router.wire import StrictProtocol


class GatewayProtocol(StrictProtocol):
    """The connection class of the data listener; `tunnels` is set by `with_tunnels`."""

    tunnels: Tunnels

    def takes_upgrade(self) -> bool:
        """WebSocket under `/models/`, on a connection whose answers are all out."""
        return self._get_upgrade() == b"websocket" and self.url.startswith(b"/models/")

    def upgraded(self, rest: bytes) -> None:
        """Hands the connection over: HTTP ends here."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # two answers would run into each other
            return
        self.connections.discard(self)
        parsed = httptools.parse_url(self.url)
        scope: dict[str, Any] = dict(self.scope)
        scope["raw_path"] = parsed.path
        scope["path"] = urllib.parse.unquote(parsed.path.decode("ascii"))
        scope["query_string"] = parsed.query or b""
        pipe = Pipe()
        transport: asyncio.Transport = self.transport
        pipe.connection_made(transport)
        transport.set_protocol(pipe)
        if rest:
            pipe.data_received(rest)
        self.tunnels.start(scope, pipe)


def with_tunnels(tunnels: Tunnels, head_seconds: float) -> type[GatewayProtocol]:
    """The protocol class of one router."""
    return type("RouterProtocol", (GatewayProtocol,), {"tunnels": tunnels, "head_seconds": head_seconds})
