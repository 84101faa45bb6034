"""The pass-through lane: any route of a version under `/models/{m}/…`, streamed both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

import structlog

from router.edge.answer import Answer, failure
from router.edge.chooser import choose_version
from router.edge.exchange import LEFT, Begun, attempt, broken, is_small
from router.edge.hygiene import Headers, forwarded_lines, replica_start, to_caller
from router.edge.inbound import Inbound, Receive, Scope, Send
from router.edge.ledger import Ledger
from router.edge.passage import Passage
from router.edge.paths import Route, passed
from router.edge.record import known_json
from router.edge.relay import Relay, Upload
from router.edge.shedding import Shedding
from router.edge.tasks import marked, names_task, task_call
from router.errors import DeadlineExceeded, PointsmanError, TooLarge
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.link import LinkFailed
from router.upstream.stream import Stream
from router.upstream.upstream import Upstream

log = structlog.get_logger(__name__)

Work = Coroutine[Any, Any, None]


class PassThrough:
    """Serves `/models/{m}/{path}` and `/models/{m}/versions/{v}/{path}`, any method."""

    def __init__(
        self, settings: Settings, watch: Watch, upstream: Upstream, ledger: Ledger, lag: Shedding
    ) -> None:
        self.lag = lag
        self._settings = settings
        self._watch = watch
        self._upstream = upstream
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry: everything that stops a request before its first byte becomes an error answer."""
        passage = Passage(Inbound.of(scope), "pass")
        upload = Upload(receive, self._settings.pass_body_bytes, self._settings.log_payload_bytes)
        relay = Relay(send, self._settings.log_payload_bytes)
        await self._guarded(passage, upload, relay, send, self._pass(passage, scope, upload, relay))

    async def go_on(self, begun: Begun, receive: Receive, send: Send) -> None:
        """ASGI too: the rest of an exchange that was begun without."""
        kept = self._settings.log_payload_bytes
        upload, relay = Upload.of_whole(receive, begun.body, kept), Relay(send, kept)
        await self._guarded(begun.passage, upload, relay, send, self._rest(begun, upload, relay))

    async def _guarded(self, passage: Passage, upload: Upload, relay: Relay, send: Send, work: Work) -> None:
        error: PointsmanError | None = None
        try:
            await work
        except PointsmanError as raised:
            error = raised
        except Exception:
            log.exception("request_failed", request_id=passage.inbound.request_id, model=passage.model)
            error = PointsmanError("internal error")
        if upload.left and not relay.recorded:
            await self._recorded(passage, upload, Answer(LEFT, b""), "the caller left before the answer")
        if error is None or relay.started or upload.left:
            return
        answer = failure(error)
        answer = await self._recorded(passage, upload, answer, error.message)
        if isinstance(error, TooLarge):
            answer.headers.append((b"connection", b"close"))
        await answer.send(send)

    async def _pass(self, passage: Passage, scope: Scope, upload: Upload, relay: Relay) -> None:
        route = passed(scope["path"], scope["raw_path"])
        passage.model = route.model
        if self.lag.share:
            self.lag.look(route.model if route.model in self._watch.table.entries else "")
        task = task_call(route.path, scope["query_string"])
        limit = passage.inbound.timeout_ms(self._settings.request_timeout_ms) / 1e3
        choice = await choose_version(self._watch, passage, task.version if task is not None else route.pin)
        upload.check_announced(passage.inbound)
        wanted = None if task is None else task.replica
        query = scope["query_string"] if task is None else task.query
        head = request_head(scope, route, query, passage)
        doors = self._upstream.doors
        async with doors.stream(choice.target, wanted, passage.attempts) as (replica, stream):
            passage.replica = replica.id

            def answering() -> Work:
                stream.start(head, bodyless=scope["method"] == "HEAD")
                return self._answer(passage, route, stream, upload, relay, limit)

            await self._carried(passage, stream, upload, relay, answering)

    async def _rest(self, begun: Begun, upload: Upload, relay: Relay) -> None:
        passage, stream = begun.passage, begun.stream

        def answering() -> Work:
            return self._streamed(passage, stream, upload, relay, begun.headers, begun.began)

        try:
            await self._carried(passage, stream, upload, relay, answering)
        finally:
            begun.door.release(stream)

    async def _carried(
        self, passage: Passage, stream: Stream, upload: Upload, relay: Relay, answering: Callable[[], Work]
    ) -> None:
        """One exchange and how it stands in the record, however it ends."""
        began = monotonic()
        try:
            await self._exchange(passage, stream, upload, relay, answering())
            if upload.left and not relay.recorded:
                passage.attempts.append(attempt(passage, LEFT, "the caller left", began))
        except (PointsmanError, LinkFailed) as error:
            stream.close()
            if not relay.recorded:  # else the attempt stands in its record
                status = error.status if isinstance(error, PointsmanError) else 502
                passage.attempts.append(attempt(passage, status, str(error), began))
            if relay.started or isinstance(error, PointsmanError):
                raise
            raise broken(passage, error) from error
        except BaseException:
            stream.close()
            raise

    async def _exchange(
        self, passage: Passage, stream: Stream, upload: Upload, relay: Relay, answer: Work
    ) -> None:
        """Sends the body and the answer at once; the caller's leaving ends both."""
        loop = asyncio.get_running_loop()
        caller = loop.create_task(upload.follow(stream))
        answering = loop.create_task(answer)
        try:
            await asyncio.wait((caller, answering), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                caller.result()  # a body that is too large
                # The server says «disconnect» after a complete answer too.
                if not relay.finished:
                    log.info("caller_left", request_id=passage.inbound.request_id, sent=relay.size)
                    relay.cut = "the caller left"
                    return
            await answering
        except TooLarge as error:
            relay.cut = error.message
            raise
        finally:
            caller.cancel()
            answering.cancel()
            await asyncio.wait((caller, answering))
            for task in (caller, answering):
                if not task.cancelled():
                    task.exception()  # told already, or of no account beside what is raised
            if upload.unfinished:
                stream.close()

    async def _answer(
        self, passage: Passage, route: Route, stream: Stream, upload: Upload, relay: Relay, limit: float
    ) -> None:
        began = monotonic()
        await self._head(stream, upload, limit, fixed=b"x-request-timeout-ms" in passage.inbound.headers)
        passage.upstream_ms = (monotonic() - began) * 1e3
        host = passage.inbound.headers.get(b"host", b"")
        headers = to_caller(stream.headers, prefix=route.prefix, host=host)
        if is_small(stream, headers):
            await self._whole(passage, route, stream, upload, relay, headers, began)
        else:
            await self._streamed(passage, stream, upload, relay, headers, began)

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

    async def _streamed(
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

    async def _recorded(self, passage: Passage, upload: Upload, answer: Answer, error: str) -> Answer:
        limit = self._settings.log_payload_bytes
        try:
            await self._ledger.write(
                passage,
                answer.status,
                error,
                upload.excerpt(passage.inbound),
                known_json(answer.body, limit),
            )
        except PointsmanError as refused:
            answer = failure(refused)
        answer.headers += passage.headers()
        self._ledger.count(passage, answer.status)
        return answer


def request_head(scope: Scope, route: Route, query: bytes, passage: Passage) -> bytes:
    """The head a replica gets: the path below the model, cleaned headers, and who asks for which version."""
    client, scheme = scope.get("client"), scope.get("scheme", "http")
    target = route.raw_path + (b"?" + query if query else b"")
    proof = passage.inbound.credential
    spent = proof.header if proof is not None and passage.principal is not None else None
    lines = [
        replica_start(scope["method"].encode(), target, scope["headers"], spent),
        forwarded_lines(route.prefix, client[0] if client else None, scheme),
        passage.lines(),
    ]
    names = passage.inbound.headers
    if b"content-length" not in names and b"transfer-encoding" in names:
        lines.append(b"transfer-encoding: chunked\r\n")
    return b"".join([*lines, b"\r\n"])
