"""Small predictions straight from the connection: no ASGI, no task, the same handler.

What it takes has a whole small body announced, on a connection that owes no other answer; everything else goes
through ASGI.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from router.edge import v1, v2
from router.edge.answer import Answer
from router.edge.codec import Address, Codec
from router.edge.inbound import Inbound
from router.edge.offload import HEAVY
from router.edge.prediction import Desk, Prediction
from router.errors import PointsmanError, ReceiveTimeout

if TYPE_CHECKING:
    from router.edge.protocol import GatewayProtocol

Reading = tuple[Codec, Callable[[str], Address]]

# Prediction paths: their beginning and end, who reads bodies and who reads the path.
TENSOR_PATHS: tuple[tuple[str, str, Codec, Callable[[str], Address]], ...] = (
    ("/v1/models/", ":predict", v1.CODEC, v1.address),
    ("/v2/models/", "/infer", v2.CODEC, v2.address),
)
_BYTES: tuple[tuple[bytes, bytes, Reading], ...] = tuple(
    (a.encode(), z.encode(), (codec, where)) for a, z, codec, where in TENSOR_PATHS
)


def small_prediction(url: bytes, headers: list[tuple[bytes, bytes]]) -> Reading | None:
    """Who reads this request's body and path, if it is one for the express; None: ASGI takes it."""
    if b"%" in url or b"?" in url:
        return None
    length = None
    for name, value in headers:
        if name == b"content-length":
            length = value
        elif name in (b"transfer-encoding", b"expect"):
            return None
    if length is None or not length.isdigit() or int(length) > HEAVY:
        return None
    for prefix, suffix, reading in _BYTES:
        if url.startswith(prefix) and url.endswith(suffix):
            return reading
    return None


class Cycle:
    """One request and its answer, in the place of uvicorn's own RequestResponseCycle."""

    __slots__ = (
        "_desk", "_parts", "_protocol", "_timer", "_where", "disconnected", "keep_alive", "prediction",
        "response_complete", "response_started",
    )  # fmt: skip

    def __init__(
        self,
        protocol: GatewayProtocol,
        desk: Desk,
        codec: Codec,
        where: Callable[[str], Address],
        headers: list[tuple[bytes, bytes]],
        keep_alive: bool,
    ) -> None:
        self.disconnected = self.response_complete = self.response_started = False
        self.keep_alive = keep_alive
        self.prediction = Prediction(desk, Inbound.of_headers(headers), codec, self.respond)
        self._protocol = protocol
        self._desk = desk
        self._where = where
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
            with contextlib.suppress(PointsmanError):  # a bad header is told once the request is whole
                seconds = min(seconds, self.prediction.deadline() - monotonic())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    def begin(self, url: bytes) -> None:
        """The request is whole."""
        self._unwatch()
        if self.response_started:
            return
        parts = self._parts
        try:
            address = self.prediction.accept(self._where, "POST", url.decode("ascii"))
        except PointsmanError as error:
            self.prediction.body = b"".join(parts)
            self.prediction.set_exception(error)
            return
        self.prediction.begin(address, parts[0] if len(parts) == 1 else b"".join(parts))

    def leave(self) -> None:
        """Nobody waits for the answer."""
        self._unwatch()
        self.prediction.abandon()

    def respond(self, answer: Answer) -> None:
        """Writes the whole answer at once; the next request of the connection may begin."""
        protocol = self._protocol
        self.response_started = self.response_complete = True
        if self.disconnected or protocol.transport.is_closing():
            return
        parts = [STATUS_LINE[answer.status]]
        for name, value in protocol.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"content-type: ", answer.kind, b"\r\ncontent-length: %d\r\n" % len(answer.body))
        for name, value in answer.headers:
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection":
                self.keep_alive = False
        if self._desk.watch.draining and self.keep_alive:
            self.keep_alive = False
        if not self.keep_alive and (b"connection", b"close") not in answer.headers:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", answer.body)
        protocol.transport.write(b"".join(parts))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    def _late(self) -> None:
        self._timer = None
        self.prediction.body = b"".join(self._parts)
        self.prediction.set_exception(ReceiveTimeout("the body did not arrive in time"))

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
