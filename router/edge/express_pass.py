"""Small pass-through requests straight from the connection: no ASGI, no task while the answer is small, too.

What it takes has a whole small body (or none), on a connection that owes no other answer. A body that trickles,
whatever cannot be sent at once, and an answer that is a stream go on the way of ASGI.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from time import monotonic
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from router.edge.crossing import Crossing, PassDesk
from router.edge.exchange import Begun, Failed
from router.edge.inbound import Receive, Scope, Send
from router.edge.pass_head import PassHead

if TYPE_CHECKING:
    from router.edge.protocol import GatewayProtocol

GRACE = 0.005  # seconds for a body that did not come in the packet of its head; then it is streamed


class Cycle:
    """One request and its answer, in the place of uvicorn's own RequestResponseCycle."""

    __slots__ = (
        "_begun", "_crossing", "_desk", "_parts", "_protocol", "_waits", "disconnected", "head",
        "keep_alive", "response_complete", "response_started",
    )  # fmt: skip

    def __init__(self, protocol: GatewayProtocol, desk: PassDesk, head: PassHead) -> None:
        self.disconnected = self.response_complete = self.response_started = False
        self.keep_alive = head.keep_alive
        self.head = head
        self._protocol = protocol
        self._desk = desk
        self._parts: list[bytes] = []
        self._waits = False  # a little, for the rest of the body
        self._begun = False  # the body is whole, or somebody else waits for it
        self._crossing: Crossing | None = None

    @property
    def message_event(self) -> Cycle:
        """Where uvicorn keeps the event that wakes an application: here none sleeps, and `set` is ours."""
        return self

    def set(self) -> None:
        """uvicorn says that something changed."""
        if self.disconnected:
            self.leave()

    def add(self, part: bytes) -> None:
        """A piece of the body; its announced length bounds it."""
        self._parts.append(part)

    def watch_body(self) -> None:
        """The body is not whole yet: a little later it is streamed, also if more of it came meanwhile."""
        if not self._begun and not self._waits:
            self._waits = True
            self._desk.deadlines.watch(self, monotonic() + GRACE)

    def whole(self) -> None:
        """The request is whole, its body came in pieces."""
        self._desk.deadlines.forget(self)
        self.begin(b"".join(self._parts))

    def begin(self, body: bytes) -> None:
        """The request is whole."""
        self._begun = True
        protocol = self._protocol
        client = protocol.client
        crossing = self._crossing = Crossing(self._desk, self)
        sent = crossing.begin(
            self.head, body, None if client is None else client[0], protocol.scheme or "http"
        )
        if not sent:
            self._crossing = None
            self._by_asgi(body, more=False)

    def leave(self) -> None:
        """Nobody waits for the answer."""
        crossing, self._crossing = self._crossing, None
        if crossing is not None:
            crossing.leave()
        elif not self._begun:
            self.late()

    def late(self) -> None:
        """The body is not whole; from here on it is streamed, or found to have been given up."""
        self._begun = True
        self._desk.deadlines.forget(self)
        self._by_asgi(b"".join(self._parts), more=True)

    # -- answers -------------------------------------------------------------------------------------------

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Writes the whole answer at once; the next request of the connection may begin."""
        protocol = self._protocol
        self._crossing = None
        self.response_started = self.response_complete = True
        if self.disconnected or protocol.transport.is_closing():
            return
        if self._desk.watch.draining:
            self.keep_alive = False
        opening = protocol.openings.of(status, protocol.server_state.default_headers)
        close = b"" if self.keep_alive else b"connection: close\r\n"
        protocol.transport.write(b"".join((opening, lines, close, b"\r\n", body)))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    def stream(self, begun: Begun) -> None:
        """A task carries the answer on, with all that belongs to a stream."""
        self._crossing = None
        passthrough = self._desk.passthrough

        async def go_on(_: Scope, receive: Receive, send: Send) -> None:
            await passthrough.go_on(begun, receive, send)

        cycle = self._successor()
        cycle.more_body = False
        cycle.keep_alive = self.keep_alive and not self._desk.watch.draining
        self._protocol._start_asgi_task(cycle, go_on)  # type: ignore[arg-type]

    def again(self, failed: Failed) -> None:
        """A task asks another replica."""
        self._crossing = None
        passthrough = self._desk.passthrough

        async def go_on(scope: Scope, receive: Receive, send: Send) -> None:
            await passthrough.again(failed, scope, receive, send)

        self._by_asgi(failed.body, more=False, by=go_on)

    def _by_asgi(self, body: bytes, *, more: bool, by: Any = None) -> None:
        """Hands the request over as it is; `more`: the rest of its body comes yet, if the caller is there."""
        cycle = self._successor()
        cycle.body += body
        cycle.more_body = more
        if not more or body or self.disconnected:
            cycle.message_event.set()
        self._protocol._start_asgi_task(cycle, by or self._protocol.app)

    def _successor(self) -> RequestResponseCycle:
        """uvicorn's own cycle, in the place of this one."""
        protocol = self._protocol
        cycle = RequestResponseCycle(
            scope=self._scope(),  # type: ignore[arg-type]
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=self.keep_alive,
            on_response=protocol.on_response_complete,
        )
        cycle.disconnected = self.disconnected
        current: Any = protocol.cycle
        if current is self:  # else a pipelined request has come behind it
            protocol.cycle = cycle
        return cycle

    def _scope(self) -> Scope:
        protocol = self._protocol
        head = self.head
        path, _, query = head.url.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": protocol.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": protocol.server,
            "client": protocol.client,
            "scheme": protocol.scheme,
            "root_path": protocol.root_path,
            "headers": list(head.given),
            "state": protocol.app_state.copy(),
            "method": head.method.decode("ascii"),
            "path": urllib.parse.unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
        }
