"""HTTP without sockets: a transport that keeps what is written, streams in pieces, answers as values."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

ROUNDS = 2000  # of the loop; more is no rest
_loops: list[asyncio.AbstractEventLoop] = []
_raised: list[BaseException] = []
_CHANGES = re.compile(rb"(?m)^(?:x-request-id|date): [^\r\n]*\r\n")


def loop() -> asyncio.AbstractEventLoop:
    """One for all inputs: to make one costs more than most of them."""
    if not _loops or _loops[0].is_closed():
        _loops[:] = [asyncio.new_event_loop()]
        _loops[0].set_exception_handler(_keep)
    return _loops[0]


def settle() -> None:
    """Lets the loop do all that is due now. Raises what a callback or a task raised."""
    running: Any = loop()
    rounds = 0
    while running._ready:
        running.call_soon(running.stop)
        running.run_forever()
        rounds += 1
        assert rounds < ROUNDS, "the connection does not come to rest"
    if _raised:
        first = _raised[0]
        _raised.clear()
        raise first


def inside(call: Callable[..., object], *args: object) -> None:
    """Calls it as the loop calls protocols, and lets come what comes of it."""
    asyncio._set_running_loop(loop())
    try:
        call(*args)
    finally:
        asyncio._set_running_loop(None)
    settle()


def _keep(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    _raised.append(error if isinstance(error, BaseException) else RuntimeError(str(context)))


class Transport(asyncio.Transport):
    """Keeps what is written; what is written after the end is a fault of its own."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 4711), "sockname": ("192.0.2.1", 80)})
        self.out = bytearray()
        self.closing = self.aborted = False
        self.paused = False
        self.protocol: Any = None

    def connect(self, protocol: Any) -> None:
        """The connection is there."""
        self.protocol = protocol
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        if not self.closing:
            self.out += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


def converse(made: Callable[[], Any], pieces: Iterator[bytes] | list[bytes]) -> Transport:
    """A connection that gets these pieces one after the other, and is lost at the end."""
    transport = Transport()
    inside(lambda: transport.connect(made()))
    for piece in pieces:
        if transport.closing:
            break
        assert not transport.paused, "nobody will ever read on"
        inside(transport.protocol.data_received, piece)
    transport.closing = True
    inside(transport.protocol.connection_lost, None)
    return transport


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """In pieces that the seed says: 0 whole, 1 bytes, others of lengths that change."""
    at, size = 0, seed
    while at < len(data):
        step = size or len(data)
        yield data[at : at + step]
        at += step
        size = min(seed, 1) if seed < 2 else (size * 31 + seed) % 97 + 1


class Answers:
    """The answers in a stream of them: status, the lines of the head that do not change, body."""

    def __init__(self, data: bytes, methods: list[str] | None = None) -> None:
        self.found: list[tuple[int, tuple[tuple[bytes, bytes], ...], bytes]] = []
        self.broken = False
        self._head: list[tuple[bytes, bytes]] = []
        self._body = b""
        self.parser = HttpResponseParser(self)
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.broken = True

    def on_message_begin(self) -> None:
        self._head, self._body = [], b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in (b"x-request-id", b"date"):
            self._head.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.found.append((self.parser.get_status_code(), tuple(self._head), self._body))


def timeless(data: bytes) -> bytes:
    """Bytes without what differs from run to run."""
    return _CHANGES.sub(b"", data)
