"""uvicorn's HTTP protocol, changed: an upgrade under `/models/` becomes a tunnel, trailers are dropped."""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.edge.tunnel import Tunnels
from router.upstream.pipe import Pipe


class GatewayProtocol(HttpToolsProtocol):
    """The connection class of the data listener; `tunnels` is set by `with_tunnels`."""

    tunnels: Tunnels

    def on_headers_complete(self) -> None:
        """httptools' callback. What it calls headers from now on are trailers: they may not join the scope's."""
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() == b"websocket" and self.url.startswith(b"/models/")

    def handle_websocket_upgrade(self) -> None:
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
        self.tunnels.start(scope, pipe)


def with_tunnels(tunnels: Tunnels) -> type[GatewayProtocol]:
    """The protocol class of one router."""
    return type("RouterProtocol", (GatewayProtocol,), {"tunnels": tunnels})
