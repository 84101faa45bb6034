"""A replica's answer to a passed-through request: its head in time, then whole or as a stream, and its record."""

from __future__ import annotations

import asyncio
from time import monotonic

from router.edge.exchange import attempt, is_small
from router.edge.hygiene import Headers, to_caller
from router.edge.ledger import Ledger
from router.edge.passage import Passage
from router.edge.paths import Route
from router.edge.relay import Relay, Upload
from router.edge.tasks import marked, names_task
from router.errors import DeadlineExceeded, PointsmanError
from router.settings import Settings
from router.upstream.door import Door
from router.upstream.link import LinkFailed
from router.upstream.stream import Stream


class Answering:
    """Of all such requests of a router."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger

    async def answer(
        self,
        passage: Passage,
        route: Route,
        door: Door,
        stream: Stream,
        upload: Upload,
        relay: Relay,
        limit: float,
    ) -> None:
        """Waits for the head, `limit` seconds, and passes the answer on. Raises LinkFailed, DeadlineExceeded."""
        began = monotonic()
        await self._head(stream, upload, limit, fixed=b"x-request-timeout-ms" in passage.inbound.headers)
        now = monotonic()
        passage.upstream_ms = (now - began) * 1e3
        door.answered(stream.status, min(now - began, upload.silence(now)), limit, now)
        host = passage.inbound.headers.get(b"host", b"")
        headers = to_caller(stream.headers, prefix=route.prefix, host=host)
        if is_small(stream, headers):
            await self._whole(passage, route, stream, upload, relay, headers, began)
        else:
            await self.streamed(passage, stream, upload, relay, headers, began)

    async def _head(self, stream: Stream, upload: Upload, limit: float, *, fixed: bool) -> None:
        """Waits for the answer's head: `limit` seconds in all (`fixed`), or from the end of the body on."""
        remaining = limit
        while True:
            try:
                async with asyncio.timeout(remaining):
                    return await stream.head()
            except TimeoutError as error:
                remaining = 0.0 if fixed else upload.remaining(limit)
                if remaining <= 0:
                    raise upload.late(limit) from error

    async def _whole(
        self,
        passage: Passage,
        route: Route,
        stream: Stream,
        upload: Upload,
        relay: Relay,
        headers: Headers,
        began: float,
    ) -> None:
        """A small answer: one record, then all of it."""
        parts = []
        while (part := await self._chunk(stream)) is not None:
            parts.append(part)
        body = b"".join(parts)
        if names_task(route.path) and passage.choice is not None and passage.replica is not None:
            body = marked(body, passage.choice.version, passage.replica)
            headers = [
                (name, b"%d" % len(body) if name == b"content-length" and body else value)
                for name, value in headers
            ]
        if stream.status in (204, 304):  # a length would promise the server a body
            headers = [header for header in headers if header[0] != b"content-length"]
        excerpt = relay.excerpt(body, headers)
        passage.attempts.append(attempt(passage, stream.status, None, began))
        relay.recorded = True
        await self._ledger.write(passage, stream.status, None, upload.excerpt(passage.inbound), excerpt)
        self._ledger.count(passage, stream.status)
        await relay.start(stream.status, headers + passage.headers())
        await relay.write(body, more=False)

    async def streamed(
        self,
        passage: Passage,
        stream: Stream,
        upload: Upload,
        relay: Relay,
        headers: Headers,
        began: float,
    ) -> None:
        """An answer of any length: `begin` before its first byte, `end` after its last."""
        begin = asyncio.ensure_future(self._ledger.begin(passage, upload.excerpt(passage.inbound)))
        relay.recorded = True
        error: str | None = None
        try:
            await asyncio.shield(begin)  # it is written whether or not the caller waits
            await relay.start(stream.status, headers + passage.headers())
            while (part := await self._chunk(stream)) is not None:
                await relay.write(part, more=True)
            await relay.write(b"", more=False)
        except (LinkFailed, PointsmanError) as raised:
            error = str(raised)
            raise
        except asyncio.CancelledError:
            error = relay.cut
            raise
        finally:
            await asyncio.wait({begin})
            if begin.cancelled() or begin.exception() is not None:
                relay.recorded = False  # refused: the caller gets that as an error, and so does the log
            else:
                passage.attempts.append(attempt(passage, stream.status, error, began))
                await self._end(begin.result(), passage, stream.status, error, upload, relay)

    async def _end(
        self, begin: str, passage: Passage, status: int, error: str | None, upload: Upload, relay: Relay
    ) -> None:
        """The second half of a stream's record; it is written whatever ended the stream."""
        sent = {"in": upload.size, "out": relay.size}
        self._ledger.count(passage, status)
        await asyncio.shield(self._ledger.end(begin, passage, status, error, sent))

    async def _chunk(self, stream: Stream) -> bytes | None:
        idle = self._settings.stream_idle_ms / 1e3
        try:
            async with asyncio.timeout(idle):
                return await stream.chunk()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the replica was silent for {idle:g} s") from error
