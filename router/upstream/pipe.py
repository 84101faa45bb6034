"""A raw two-way tunnel: bytes from one side go to the other, each side waiting for the other's reader."""

from __future__ import annotations

import asyncio
from typing import cast

from router.upstream.link import LinkFailed
from router.upstream.stream import CONNECT_TIMEOUT, HEAD_LIMIT


class Pipe(asyncio.Protocol):
    """One side. Until it is `joined` to its peer what arrives is kept (a head at most), then handed over."""

    def __init__(self) -> None:
        self.size = 0  # bytes that arrived on this side
        self.closed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._peer: Pipe | None = None
        self._kept = bytearray()
        self._arrived = asyncio.Event()

    def join(self, peer: Pipe) -> None:
        """From now on this side's bytes go to `peer`; those that wait go first."""
        self._peer = peer
        if self._kept:
            peer.write(bytes(self._kept))
            self._kept.clear()
        if self.closed.is_set():
            peer.close()
        elif self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Sends bytes out on this side."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Closes after what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    async def head(self) -> bytes:
        """An HTTP head up to its empty line, taken off what arrived. Raises LinkFailed."""
        while (end := self._kept.find(b"\r\n\r\n")) < 0:
            if self.closed.is_set() or len(self._kept) > HEAD_LIMIT:
                raise LinkFailed("the answer's head did not arrive", sent=True)
            self._arrived.clear()
            await self._arrived.wait()
        head = bytes(self._kept[: end + 4])
        del self._kept[: end + 4]
        return head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if self._peer is not None:
            self._peer.write(data)
            return
        self._kept += data
        self._arrived.set()
        if len(self._kept) > HEAD_LIMIT and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        if self._peer is not None and self._peer._transport is not None:
            self._peer._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._peer is not None and self._peer._transport is not None:
            self._peer._transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        self._arrived.set()
        if self._peer is not None:
            self._peer.close()


async def open_pipe(address: str) -> Pipe:
    """A raw connection to `unix:PATH` or `tcp:HOST:PORT`; raises OSError or TimeoutError within a second."""
    loop = asyncio.get_running_loop()
    kind, _, rest = address.partition(":")
    async with asyncio.timeout(CONNECT_TIMEOUT):
        if kind == "unix":
            _, pipe = await loop.create_unix_connection(Pipe, rest)
        else:
            host, _, port = rest.rpartition(":")
            _, pipe = await loop.create_connection(Pipe, host, int(port))
    return pipe
