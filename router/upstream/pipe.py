"""A raw two-way tunnel: bytes from one side go to the other, each side waiting for the other's reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from router.upstream.link import LinkFailed
from router.upstream.stream import HEAD_LIMIT, dial


class Pipe(asyncio.Protocol):
    """One side. Until it is `joined` to its peer what arrives is kept (a head at most), then handed over."""

    def __init__(self) -> None:
        self.size = 0  # bytes that arrived on this side
        self.written = False  # something was sent out on this side
        self.closed = asyncio.Event()
        self.lost: str | None = None  # how it broke, where it was not closed
        self.look: Callable[[bytes], None] | None = None  # sees what passes on to the peer
        self._transport: asyncio.Transport | None = None
        self._peer: Pipe | None = None
        self._kept = bytearray()
        self._arrived = asyncio.Event()

    def join(self, peer: Pipe) -> None:
        """From now on this side's bytes go to `peer`; those that wait go first."""
        self._peer = peer
        if self._kept:
            self._pass(peer, bytes(self._kept))
            self._kept.clear()
        if self.closed.is_set():
            peer.close()
        elif self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Sends bytes out on this side."""
        if self._transport is not None and not self._transport.is_closing():
            self.written = True
            self._transport.write(data)

    def close(self) -> None:
        """Closes after what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

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
            self._pass(self._peer, data)
            return
        self._kept += data
        self._arrived.set()
        if len(self._kept) > HEAD_LIMIT and self._transport is not None:
            self._transport.pause_reading()

    def _pass(self, peer: Pipe, data: bytes) -> None:
        if self.look is not None:
            self.look(data)
        peer.write(data)

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
        self.lost = None if exc is None else str(exc)
        self.closed.set()
        self._arrived.set()
        if self._peer is not None:
            self._peer.close()


async def open_pipe(address: str) -> Pipe:
    """A raw connection to a replica; raises as `dial` does."""
    return await dial(Pipe, address)
