"""One streamed exchange with a replica: both directions in pieces, neither buffered whole."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TypeVar, cast

import httptools

from router.upstream.heads import Headers, Heads
from router.upstream.link import LinkFailed

HIGH_WATER = 64 << 10  # bytes read ahead of the caller before the replica is told to wait
CONNECT_TIMEOUT = 1.0
AGAIN = 0.005  # seconds
HEAD_LIMIT = 64 << 10
HIGHEST = 599  # of all statuses: no server could pass on another

Protocol = TypeVar("Protocol", bound=asyncio.Protocol)


_heads = Heads()


class Stream(asyncio.Protocol):
    """A connection that carries one exchange at a time; reusable only after one that ended cleanly.

    Who started the exchange either waits for its steps (`head`, `chunk`) or is called at each of them
    (`follow`) and looks for itself (`head_done`, `done`, `failed`, `taken`); it may change over in between.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.idle_since = monotonic()
        self._transport: asyncio.Transport | None = None
        self._asked = False
        self._parser: httptools.HttpResponseParser | None = None  # once an answer is looked at
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self.head_done = False
        self.done = False
        self.failed: str | None = None
        self._bodyless = False
        self._watcher: Callable[[], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Event | None = None  # there while the replica does not read
        self._head_size = 0

    # -- the exchange --------------------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        """Whether another exchange may be sent on it: the last one is over and all of it was taken.

        An answer left lying means a caller who hung up, and perhaps a transport that was told to wait.
        """
        return (
            not self._is_closing()
            and self.failed is None
            and (not self._asked or self.done)
            and not self._chunks
        )

    def start(self, head: bytes, *, bodyless: bool) -> None:
        """Sends a request's head. `bodyless`: the answer has no body whatever its headers say (HEAD).

        Raises LinkFailed where the connection closed since it was taken.
        """
        if self._transport is None:
            raise LinkFailed(self.failed or "connection is closed", sent=False)
        self.status, self.headers = 0, []
        self._chunks.clear()
        self._buffered = self._head_size = 0
        self.head_done = self.done = False
        self._bodyless = bodyless
        self._parser = None
        self._asked = True
        self._transport.write(head)

    def follow(self, watcher: Callable[[], None] | None) -> None:
        """Calls `watcher` whenever the answer goes on or breaks; None: nobody any more."""
        self._watcher = watcher

    def taken(self) -> bytes:
        """All of the body that is there."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        self._resume()
        return data

    @property
    def empty(self) -> bool:
        """Whether the answer has no body, whatever length its headers name."""
        return self._bodyless or self.status in (204, 304)

    async def write(self, data: bytes) -> None:
        """Sends a piece of the request; waits while the replica does not read. Raises LinkFailed."""
        if self.failed is not None or self._transport is None or self._transport.is_closing():
            raise LinkFailed(self.failed or "connection is closed", sent=True)
        self._transport.write(data)
        if self._writable is not None:
            await self._writable.wait()

    async def head(self) -> None:
        """Waits for the answer's status and headers. Raises LinkFailed."""
        while not self.head_done:
            await self._next()

    async def chunk(self) -> bytes | None:
        """The next piece of the answer, or None at its clean end. Raises LinkFailed for any other end."""
        while not self._chunks:
            if self.done:
                return None
            await self._next()
        data = self._chunks.popleft()
        self._buffered -= len(data)
        if self._buffered < HIGH_WATER:
            self._resume()
        return data

    def close(self) -> None:
        """Ends the connection at once: whatever comes later belongs to nobody."""
        if self._transport is not None:
            self._transport.abort()

    async def _next(self) -> None:
        if self.failed is not None:
            raise LinkFailed(self.failed, sent=True)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _tell(self) -> None:
        if self._watcher is not None:
            self._watcher()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # -- asyncio's side ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._asked or self.done:
            self._fail("bytes nobody asked for")
            return
        first = self._parser is None and not self._bodyless
        if first and self._is_known(data):
            self._tell()
            return
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
            if first and self._is_whole():
                _heads.learn(data, self.status, self.headers)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # Also behind a whole answer: that one counts, the connection does not.
            self._fail(f"answer is not HTTP: {error}")
        if self._buffered >= HIGH_WATER and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._tell()

    def _is_known(self, data: bytes) -> bool:
        """Whether `data` is a whole answer with a head that is known; then it is taken without a parser."""
        found = _heads.find(data)
        if found is None:
            return False
        head, end = found
        self.status, self.headers = head.status, head.headers
        self.head_done = True
        if head.length:
            self.on_body(data[end:])
        self._end(keep=True)
        return True

    def _is_whole(self) -> bool:
        return self.done and self.failed is None and not self._is_closing()

    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if exc is None and self.failed is None and self._until_close():
            self.done = True
        if not self.done:
            self.failed = self.failed or f"connection lost: {exc or 'closed by the replica'}"
        self.resume_writing()
        self._tell()

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set()

    def _until_close(self) -> bool:
        """Whether the answer is one whose end is the end of the connection."""
        names = {name for name, _ in self.headers}
        return self.head_done and b"content-length" not in names and b"transfer-encoding" not in names

    def _fail(self, why: str) -> None:
        self.failed = self.failed or why
        self.close()

    # -- httptools' side -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.done:
            self._fail("bytes nobody asked for")  # a second answer in the first one's packet

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_LIMIT:
            self._fail("the answer's head is too large")
        # A trailer comes here too: it must not become a header of an answer whose head is read already.
        elif not self.head_done:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        if self.head_done or self.failed is not None:
            return
        status = self._parser.get_status_code()
        if status == 101:
            self._fail("switched protocols without being asked")
            return
        if status < 200:
            self.headers = []  # an interim answer: the real one follows
            return
        if status > HIGHEST:
            self._fail(f"there is no status {status}")
            return
        self.status = status
        self.head_done = True
        if self._bodyless:
            self._end(keep=False)

    def on_body(self, body: bytes) -> None:
        if self.done:
            return
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self.head_done and not self.done and self._parser is not None:
            self._end(keep=self._parser.should_keep_alive())

    def _end(self, *, keep: bool) -> None:
        self.done = True
        self.idle_since = monotonic()
        if not keep and self._transport is not None:
            self._transport.close()


async def dial(protocol: Callable[[], Protocol], address: str) -> Protocol:
    """A new connection to `unix:PATH` or `tcp:HOST:PORT`; raises OSError or TimeoutError within a second."""
    loop = asyncio.get_running_loop()
    kind, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    async with asyncio.timeout(CONNECT_TIMEOUT):
        while True:
            try:
                if kind == "unix":
                    return (await loop.create_unix_connection(protocol, rest))[1]
                return (await loop.create_connection(protocol, host, int(port)))[1]
            except BlockingIOError:
                await asyncio.sleep(
                    AGAIN
                )  # a Unix socket's queue is full: busy, not gone; TCP would wait, too


async def open_stream(address: str) -> Stream:
    """A new connection to a replica; raises as `dial` does."""
    return await dial(Stream, address)
