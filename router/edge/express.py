"""Small predictions straight from the connection: no ASGI, no task, the same handler.

What it takes has a whole small body announced, on a connection that owes no other answer; everything else goes
through ASGI.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from router.edge.answer import Answer
from router.edge.desk import Desk
from router.edge.head import Head
from router.edge.prediction import Prediction
from router.errors import ReceiveTimeout

if TYPE_CHECKING:
    from router.edge.protocol import GatewayProtocol

CLOSE = b"connection: close\r\n"


class Openings:
    """Status line and default headers of answers as bytes; uvicorn makes new default headers each second."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._lines = b""
        self._known: dict[int, bytes] = {}

    def of(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """For one status."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._known = {}
        known = self._known.get(status)
        if known is None:
            known = self._known[status] = STATUS_LINE[status] + self._lines
        return known


class Cycle:
    """One request and its answer, in the place of uvicorn's own RequestResponseCycle."""

    __slots__ = (
        "_desk", "_parts", "_protocol", "_timer", "disconnected", "head", "keep_alive", "prediction",
        "response_complete", "response_started",
    )  # fmt: skip

    def __init__(self, protocol: GatewayProtocol, desk: Desk, head: Head) -> None:
        self.disconnected = self.response_complete = self.response_started = False
        self.keep_alive = head.keep_alive
        self.head = head
        self.prediction = Prediction(desk, head.inbound(), head.codec, self.respond)
        self._protocol = protocol
        self._desk = desk
        self._parts: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def message_event(self) -> Cycle:
        """Where uvicorn keeps the event that wakes an application: here none sleeps, and `set` is ours."""
        return self

    def set(self) -> None:
        """uvicorn says that something changed; if the caller left, so does the prediction."""
        if self.disconnected:
            self.leave()

    def add(self, part: bytes) -> None:
        """A piece of the body; its announced length bounds it."""
        self._parts.append(part)

    def watch_body(self) -> None:
        """The body is not whole yet: it has until its deadline, whatever trickles in."""
        if self._timer is None and not self.response_started:
            seconds = self._desk.settings.receive_timeout_ms / 1e3
            seconds = min(seconds, self.prediction.deadline() - monotonic())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    def whole(self) -> None:
        """The request is whole, its body came in pieces."""
        self._unwatch()
        if not self.response_started:
            self.begin(b"".join(self._parts))

    def begin(self, body: bytes) -> None:
        """The request is whole."""
        self.prediction.begin(self.head.address, body)

    def leave(self) -> None:
        """Nobody waits for the answer."""
        self._unwatch()
        self.prediction.abandon()

    def respond(self, answer: Answer) -> None:
        """Writes the whole answer at once; the next request of the connection may begin."""
        protocol = self._protocol
        self.response_started = self.response_complete = True
        transport = protocol.transport
        if self.disconnected or transport.is_closing():
            return
        extra = b""
        for name, value in answer.headers:
            extra += b"%b: %b\r\n" % (name, value)
            if name == b"connection":
                self.keep_alive = False
        if self._desk.watch.draining:
            self.keep_alive = False
        if not self.keep_alive and CLOSE not in extra:
            extra += CLOSE
        body = answer.body
        transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (
                protocol.openings.of(answer.status, protocol.server_state.default_headers),
                answer.kind,
                len(body),
                self.prediction.passage.lines(),
                extra,
                body,
            )
        )
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()

    def _late(self) -> None:
        self._timer = None
        self.prediction.body = b"".join(self._parts)
        self.prediction.set_exception(ReceiveTimeout("the body did not arrive in time"))

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
