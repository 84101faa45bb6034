"""The two directions of a passed-through request: the caller's body to the replica, the answer to the caller."""

from __future__ import annotations

import base64
from time import monotonic

import structlog

from router.edge.codec import Excerpt
from router.edge.inbound import Inbound, Receive, Send
from router.edge.record import excerpt
from router.errors import BadInput, DeadlineExceeded, TooLarge
from router.upstream.link import LinkFailed
from router.upstream.stream import Stream

log = structlog.get_logger(__name__)

SLOWEST = 64 << 10  # bytes a second: at this pace a body may take longer than a request otherwise may
TEXTUAL = (
    b"text/",
    b"application/json",
    b"application/x-ndjson",
    b"application/xml",
    b"application/x-www-form",
)


class Upload:
    """The caller's body, piece by piece; keeps the beginning for the record and counts the rest."""

    def __init__(self, receive: Receive, limit: int, kept: int) -> None:
        self.size = 0
        self.left = False  # the caller hung up
        self.unfinished = True  # the replica has not got the whole body
        self._began = self._moved = monotonic()
        self._chunked = False
        self._receive = receive
        self._limit = limit
        self._kept_limit = kept
        self._kept = bytearray()

    @classmethod
    def of_whole(cls, receive: Receive, body: bytes, kept: int) -> Upload:
        """One whose body the replica has already."""
        made = cls(receive, len(body), kept)
        made.size = len(body)
        made.unfinished = False
        made._kept += body[:kept]
        return made

    def check_announced(self, inbound: Inbound) -> None:
        """Raises TooLarge where the announced length is over the limit, BadInput for an unknown coding."""
        announced = inbound.headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._limit:
            raise TooLarge(
                f"the body has {int(announced)} bytes, the limit is {self._limit}", code="body_too_large"
            )
        coding = inbound.headers.get(b"transfer-encoding")
        self._chunked = coding is not None
        if coding is not None and coding.strip().lower() != b"chunked":
            raise BadInput(
                "the only transfer-encoding is chunked", code="bad_encoding", field="transfer-encoding"
            )

    async def follow(self, stream: Stream) -> None:
        """Sends the body on, then returns when the caller hangs up. Raises TooLarge.

        A replica that reads no further may still answer: that is no error here.
        """
        if self.unfinished:
            try:
                await self.run(stream)
            except LinkFailed as error:
                log.info("body_not_read", error=str(error))
        await self.disconnected()

    async def run(self, stream: Stream) -> None:
        """Sends the whole body on, as fast as the replica reads. Raises TooLarge, LinkFailed."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.left = True
                return
            part = message.get("body", b"")
            self.size += len(part)
            self._moved = monotonic()
            if self.size > self._limit:
                raise TooLarge(f"the body is over the limit of {self._limit} bytes", code="body_too_large")
            if len(self._kept) < self._kept_limit:
                self._kept += part[: self._kept_limit - len(self._kept)]
            if part:
                await stream.write(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)
            if not message.get("more_body", False):
                break
        if self._chunked:
            await stream.write(b"0\r\n\r\n")
        self.unfinished = False
        self._moved = monotonic()

    def remaining(self, limit: float) -> float:
        """Seconds the answer's head may still take.

        `limit` seconds are for the replica; a body on its way buys its own time by its size, so that neither a
        large file is cut nor a caller who sends a byte now and then is waited for.
        """
        now = monotonic()
        if self.unfinished:
            return self._began + limit + self.size / SLOWEST - now
        return self._moved + limit - now

    def silence(self, now: float) -> float:
        """Seconds since the last piece of the body came: so long the replica alone was waited for."""
        return now - self._moved

    def late(self, limit: float) -> DeadlineExceeded:
        """The error for a head that did not come in time."""
        if self.unfinished and self._moved > self._began:
            return DeadlineExceeded("the body did not arrive in time", code="receive_timeout")
        return DeadlineExceeded(f"no answer within {limit:g} s")

    async def disconnected(self) -> None:
        """Returns when the caller hangs up."""
        while not self.left:
            self.left = (await self._receive())["type"] == "http.disconnect"

    def excerpt(self, inbound: Inbound) -> Excerpt:
        """The beginning of the body for the record: JSON and text as such, anything else in base64."""
        cut = self.size > len(self._kept) or (self.unfinished and self.size > 0)
        return payload(bytes(self._kept), inbound.headers.get(b"content-type", b""), self._kept_limit, cut)


class Relay:
    """The answer to the caller; waits while the caller does not read."""

    def __init__(self, send: Send, kept: int) -> None:
        self.started = False
        self.finished = False
        self.recorded = False  # the journal has it: a second record would be a second answer
        self.cut = "the router shut down"  # why the answer ended, where it was cancelled
        self.size = 0
        self._send = send
        self._kept_limit = kept

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Sends status and headers."""
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool) -> None:
        """Sends a piece."""
        self.size += len(data)
        self.finished = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def excerpt(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> Excerpt:
        """A whole answer for the record."""
        return whole(body, dict(headers).get(b"content-type", b""), self._kept_limit)


def whole(body: bytes, content_type: bytes, limit: int) -> Excerpt:
    """A whole body for the record: its first `limit` bytes."""
    return payload(body[:limit], content_type, limit, len(body) > limit)


def payload(body: bytes, content_type: bytes, limit: int, cut: bool) -> Excerpt:
    """A body of any type as a JSON value."""
    kind = content_type.lower()
    if not body:
        return Excerpt(None)
    if kind.startswith(b"application/json") and not cut:
        return excerpt(body, limit)
    if kind.startswith(TEXTUAL):
        return Excerpt(body.decode("utf-8", "replace"), cut)
    return Excerpt({"b64": base64.b64encode(body).decode()}, cut)
