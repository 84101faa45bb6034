"""The data listener's connection: an upgrade to WebSocket under `/models/` becomes a tunnel to a replica."""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any

import httptools

from router.connections import Connections
from router.edge.caller_pipe import CallerPipe
from router.edge.crossing import PassDesk
from router.edge.desk import Desk
from router.edge.express import Cycle, Openings
from router.edge.express_pass import Cycle as PassCycle
from router.edge.head import LONGEST, Head, Heads, small_prediction
from router.edge.pass_head import PassHead, small_pass
from router.edge.tunnel import Tunnels
from router.wire import SEND_SECONDS, StrictProtocol


class GatewayProtocol(StrictProtocol):
    """The connection class of the data listener; its rooms are set by `protocol_class`."""

    tunnels: Tunnels
    desk: Desk
    pass_desk: PassDesk
    heads: Heads
    openings: Openings

    # -- small requests ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """A whole small request with a head that is known needs no parser; anything else is fed to it."""
        if not self.resting or self.flow.write_paused:
            self._feed(data)
            return
        end = data.find(b"\r\n\r\n", 0, LONGEST + 4)
        head = self.heads.find(data[:end]) if end > 0 else None
        if head is not None and len(data) - end - 4 == head.length:
            self._unwatch_head()
            cycle = self._cycle(head)
            self.cycle = cycle  # type: ignore[assignment]
            cycle.begin(data[end + 4 :])
            return
        before, messages = self._taken(), self._messages
        self._feed(data)
        taken = self._taken()
        if (
            taken is not None
            and taken is not before
            and self._messages == messages + 1
            and data[:1].isalpha()
            and len(data) - end - 4 == taken.head.length
            and self.parser is not None
        ):
            self.heads.learn(data[:end], taken.head)

    def _feed(self, data: bytes) -> None:
        """Feeds the parser; a small request whose body is not whole yet gets a deadline."""
        super().data_received(data)
        cycle = self._taken()
        if cycle is not None and not self._in_head and not cycle.response_complete:
            cycle.watch_body()

    def on_headers_complete(self) -> None:
        """A small request is taken here, everything else goes the way of ASGI.

        So does one of a caller who does not read: there its answer waits.
        """
        self.check_head()
        before, parser = self.cycle, self.parser
        if (
            (before is None or before.response_complete)
            and not self.pipeline
            and not self.flow.write_paused
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
        ):
            head = self._small(parser.get_method(), parser.should_keep_alive())
            if head is not None:
                self._in_head = False
                self.cycle = self._cycle(head)  # type: ignore[assignment]
                return
        super().on_headers_complete()

    def _small(self, method: bytes, keep_alive: bool) -> Head | PassHead | None:
        if self.url.startswith(b"/models/"):
            desk = self.pass_desk
            return small_pass(method, self.url, self.headers, keep_alive, desk.largest, desk.required)
        return small_prediction(self.url, self.headers, keep_alive) if method == b"POST" else None

    def _cycle(self, head: Head | PassHead) -> Cycle | PassCycle:
        if isinstance(head, PassHead):
            return PassCycle(self, self.pass_desk, head)
        return Cycle(self, self.desk, head)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        cycle = self._taken()
        if cycle is not None:
            cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        cycle = self._taken()
        if cycle is not None:
            self.between_requests()
            cycle.whole()
        else:
            super().on_message_complete()

    def _taken(self) -> Cycle | PassCycle | None:
        """The small request under way (or last answered), if the last request was one."""
        cycle: Any = self.cycle
        return cycle if type(cycle) is Cycle or type(cycle) is PassCycle else None

    # -- upgrades ------------------------------------------------------------------------------------------

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
        pipe = CallerPipe(self.give_place_up)
        transport: asyncio.Transport = self.transport
        pipe.connection_made(transport)
        transport.set_protocol(pipe)
        if rest:
            pipe.data_received(rest)
        self.tunnels.start(scope, pipe)


def protocol_class(
    tunnels: Tunnels,
    desk: Desk,
    pass_desk: PassDesk,
    head_seconds: float,
    send_seconds: float = SEND_SECONDS,
    places: Connections | None = None,
) -> type[GatewayProtocol]:
    """The protocol class of one router."""
    rooms = {
        "tunnels": tunnels,
        "desk": desk,
        "pass_desk": pass_desk,
        "head_seconds": head_seconds,
        "send_seconds": send_seconds,
        "places": places,
        "heads": Heads(),
        "openings": Openings(),
    }
    return type("RouterProtocol", (GatewayProtocol,), rooms)
