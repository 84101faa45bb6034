"""One connection to a replica: one exchange at a time, closed whenever an exchange does not end cleanly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import httptools

CONNECT_TIMEOUT = 1.0  # seconds; replicas are on this host or one network away
LARGEST_ANSWER = 512 << 20


HEADS = 64  # heads of answers that are remembered
HEAD_BYTES = 160  # a longer one has a date or an id in it, and never comes again


@dataclass(slots=True)
class Reply:
    """A whole answer of a replica."""

    status: int
    body: bytes


class LinkFailed(Exception):
    """The exchange broke. `sent` is false where not a byte of the request had left, so another may try."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Link(asyncio.Protocol):
    """A kept-alive HTTP/1.1 connection; `done` of the exchange is called exactly once, with reply or error."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._done: Callable[[Reply | LinkFailed], None] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._heads: dict[bytes, tuple[int, int]] = {}  # status and length by the bytes of a head

    @property
    def open(self) -> bool:
        """Whether a new exchange may be started on it, or is under way."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, done: Callable[[Reply | LinkFailed], None]) -> None:
        """Starts an exchange. The link must be open and idle; it has no timer: who sends also closes."""
        if self._done is not None:
            raise RuntimeError("a link carries one exchange at a time")
        if self._transport is None or self._transport.is_closing():
            done(LinkFailed("connection is closed", sent=False))
            return
        self._done = done
        self._transport.write(request)

    def close(self) -> None:
        """Closes the connection; an exchange under way fails."""
        if self._transport is not None:
            self._transport.abort()
        self._finish(LinkFailed("connection was closed", sent=True))

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, only alike.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """An answer that came whole with a head that is known needs no parser."""
        if self._done is None:
            self.close()  # bytes nobody asked for: the next answer could not be trusted
            return
        if self._parser is not None:
            self._feed(self._parser, data)
            return
        end = data.find(b"\r\n\r\n", 0, HEAD_BYTES + 4)
        known = self._heads.get(data[:end]) if end > 0 else None
        if known is not None and len(data) - end - 4 == known[1]:
            self._finish(Reply(known[0], data[end + 4 :]))
            return
        parser = self._parser = httptools.HttpResponseParser(self)
        self._size = 0
        self._feed(parser, data)
        whole = self._parser is None and self.open and end > 0
        if whole and self._size == len(data) - end - 4 and data.startswith(b"HTTP/1.1 200 "):
            if len(self._heads) >= HEADS:
                self._heads.clear()
            self._heads[data[:end]] = (200, self._size)

    def _feed(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"answer is not HTTP: {error}")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._finish(LinkFailed(f"connection lost: {exc or 'closed by the replica'}", sent=True))

    # httptools' side

    def on_message_begin(self) -> None:
        if self._parser is None:
            # A second answer in the first one's packet: whoever asks next must not get a byte of it.
            self._fail("bytes nobody asked for")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LARGEST_ANSWER:
            self._fail("answer is too large")
            return
        self._parts.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        if parser is None:
            return
        status, parts = parser.get_status_code(), self._parts
        if 100 <= status < 200 and status != 101:
            return  # an interim answer: the real one follows
        reply = Reply(status, parts[0] if len(parts) == 1 else b"".join(parts))
        if not parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        self._finish(reply)

    # ends of an exchange

    def _fail(self, message: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._finish(LinkFailed(message, sent=True))

    def _finish(self, result: Reply | LinkFailed) -> None:
        done, self._done, self._parser, self._parts = self._done, None, None, []
        if done is not None:
            done(result)


async def connect(address: str) -> Link:
    """A new link to `unix:PATH` or `tcp:HOST:PORT`; raises OSError or TimeoutError within a second."""
    loop = asyncio.get_running_loop()
    kind, _, rest = address.partition(":")
    async with asyncio.timeout(CONNECT_TIMEOUT):
        if kind == "unix":
            _, link = await loop.create_unix_connection(Link, rest)
        elif kind == "tcp":
            host, _, port = rest.rpartition(":")
            _, link = await loop.create_connection(Link, host, int(port))
        else:
            raise OSError(f"unknown kind of address {address!r}")
    return link
