"""The pass-through lane: any route of a version under `/models/{m}/…`, streamed both ways."""

from __future__ import annotations

import asyncio
from time import monotonic

import structlog

from router.edge.answer import Answer, failure
from router.edge.chooser import choose_version
from router.edge.hygiene import to_caller, to_replica
from router.edge.inbound import Inbound, Receive, Scope, Send
from router.edge.ledger import Ledger
from router.edge.passage import Passage
from router.edge.paths import Route, passed
from router.edge.record import known_json
from router.edge.relay import Relay, Upload
from router.edge.tasks import is_task_path, marked, task_call
from router.errors import DeadlineExceeded, PointsmanError, TooLarge, UpstreamFailed
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.link import LinkFailed
from router.upstream.stream import Stream
from router.upstream.upstream import Upstream
from router.upstream.work import Attempt

log = structlog.get_logger(__name__)

BUFFERED = 64 << 10  # an answer that is announced to be this small has one record, not begin and end
LEFT = 499  # as nginx writes it down: nobody was there to get an answer


class PassThrough:
    """Serves `/models/{m}/{path}` and `/models/{m}/versions/{v}/{path}`, any method."""

    def __init__(self, settings: Settings, watch: Watch, upstream: Upstream, ledger: Ledger) -> None:
        self._settings = settings
        self._watch = watch
        self._upstream = upstream
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry: everything that stops a request before its first byte becomes an error answer."""
        passage = Passage(Inbound.of(scope), "pass")
        upload = Upload(receive, self._settings.pass_body_bytes, self._settings.log_payload_bytes)
        relay = Relay(send, self._settings.log_payload_bytes)
        try:
            await self._pass(passage, scope, upload, relay)
            if upload.left and not relay.started:
                left = Answer(LEFT, b"")
                await self._recorded(passage, upload, left, "the caller left before the answer")
            return
        except PointsmanError as raised:
            error = raised
        except Exception:
            log.exception("request_failed", request_id=passage.inbound.request_id, model=passage.model)
            error = PointsmanError("internal error")
        if relay.started or upload.left:
            return
        answer = failure(error)
        answer = await self._recorded(passage, upload, answer, error.message)
        if isinstance(error, TooLarge):
            answer.headers.append((b"connection", b"close"))
        await answer.send(send)

    async def _pass(self, passage: Passage, scope: Scope, upload: Upload, relay: Relay) -> None:
        route = passed(scope["path"], scope["raw_path"])
        passage.model = route.model
        task = task_call(route.path, scope["query_string"])
        choice = await choose_version(self._watch, passage, task.version if task is not None else route.pin)
        upload.check_announced(passage.inbound)
        wanted = None if task is None else task.replica
        query = scope["query_string"] if task is None else task.query
        head = request_head(scope, route, query, passage)
        doors = self._upstream.doors
        async with doors.stream(choice.target, wanted, passage.attempts) as (replica, stream):
            passage.replica = replica.id
            began = monotonic()
            try:
                stream.start(head, bodyless=scope["method"] == "HEAD")
                await self._exchange(passage, route, stream, upload, relay)
                passage.attempts.append(self._attempt(passage, stream.status, None, began))
            except (PointsmanError, LinkFailed) as error:
                stream.close()
                status = error.status if isinstance(error, PointsmanError) else 502
                passage.attempts.append(self._attempt(passage, status, str(error), began))
                if relay.started or isinstance(error, PointsmanError):
                    raise
                raise UpstreamFailed(
                    f"version {choice.version} of model {route.model}: {error}", code="upstream_failed"
                ) from error
            except BaseException:
                stream.close()
                raise

    async def _exchange(
        self, passage: Passage, route: Route, stream: Stream, upload: Upload, relay: Relay
    ) -> None:
        """Sends the body and the answer at once; the caller's leaving ends both."""
        sending = asyncio.ensure_future(upload.run(stream))
        answering = asyncio.ensure_future(self._answer(passage, route, stream, upload, relay))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await self._sent(sending)
                gone = asyncio.ensure_future(upload.disconnected())
                await asyncio.wait({gone, answering}, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                # The server says «disconnect» after a complete answer too.
                if not answering.done() and not relay.finished:
                    log.info("caller_left", request_id=passage.inbound.request_id, sent=relay.size)
                    return
            await answering
        finally:
            for task in (sending, answering):
                task.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)
            if not sending.done() or sending.cancelled() or upload.unfinished:
                stream.close()

    async def _answer(
        self, passage: Passage, route: Route, stream: Stream, upload: Upload, relay: Relay
    ) -> None:
        began = monotonic()
        limit = passage.inbound.timeout_ms(self._settings.request_timeout_ms) / 1e3
        try:
            async with asyncio.timeout(limit):
                await stream.head()
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {limit:g} s") from error
        passage.upstream_ms = (monotonic() - began) * 1e3
        headers = to_caller(stream.headers, prefix=route.prefix)
        announced = dict(headers).get(b"content-length", b"")
        if announced.isdigit() and int(announced) <= BUFFERED:
            await self._whole(passage, route, stream, upload, relay, headers)
        else:
            await self._streamed(passage, stream, upload, relay, headers)

    async def _whole(
        self,
        passage: Passage,
        route: Route,
        stream: Stream,
        upload: Upload,
        relay: Relay,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        """A small answer: one record, then all of it."""
        parts = []
        while (part := await self._chunk(stream)) is not None:
            parts.append(part)
        body = b"".join(parts)
        if is_task_path(route.path) and passage.choice is not None and passage.replica is not None:
            body = marked(body, passage.choice.version, passage.replica)
            headers = [
                (name, b"%d" % len(body) if name == b"content-length" and body else value)
                for name, value in headers
            ]
        excerpt = relay.excerpt(body, headers)
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
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        """An answer of any length: `begin` before its first byte, `end` after its last."""
        relay.begin = await self._ledger.begin(passage, upload.excerpt(passage.inbound))
        error: str | None = None
        try:
            await relay.start(stream.status, headers + passage.headers())
            while (part := await self._chunk(stream)) is not None:
                await relay.write(part, more=True)
            await relay.write(b"", more=False)
        except (LinkFailed, PointsmanError) as raised:
            error = str(raised)
            raise
        except asyncio.CancelledError:
            error = "the caller left"
            raise
        finally:
            await self._end(passage, stream.status, error, upload, relay)

    async def _end(
        self, passage: Passage, status: int, error: str | None, upload: Upload, relay: Relay
    ) -> None:
        """The second half of a stream's record; it is written whatever ended the stream."""
        sent = {"in": upload.size, "out": relay.size}
        self._ledger.count(passage, status)
        await asyncio.shield(self._ledger.end(relay.begin, passage, status, error, sent))

    async def _chunk(self, stream: Stream) -> bytes | None:
        idle = self._settings.stream_idle_ms / 1e3
        try:
            async with asyncio.timeout(idle):
                return await stream.chunk()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the replica was silent for {idle:g} s") from error

    async def _sent(self, sending: asyncio.Future[None]) -> None:
        """The body is sent, or its error ends the exchange; a replica that reads no further may still answer."""
        try:
            await sending
        except LinkFailed as error:
            log.info("body_not_read", error=str(error))

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

    def _attempt(self, passage: Passage, status: int, error: str | None, began: float) -> Attempt:
        assert passage.choice is not None
        took_ms = round((monotonic() - began) * 1e3, 3)
        return Attempt(passage.choice.version, passage.replica or "", status, error, took_ms)


def request_head(scope: Scope, route: Route, query: bytes, passage: Passage) -> bytes:
    """The head a replica gets: the path below the model, cleaned headers, and who asks for which version."""
    client = scope.get("client")
    headers = to_replica(
        scope["headers"],
        prefix=route.prefix,
        client=client[0] if client else None,
        scheme=scope.get("scheme", "http"),
    )
    headers += passage.headers()
    names = {name for name, _ in headers}
    if b"host" not in names:
        headers.append((b"host", b"replica"))
    if b"content-length" not in names and any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        headers.append((b"transfer-encoding", b"chunked"))
    target = route.raw_path + (b"?" + query if query else b"")
    lines = [b"%b %b HTTP/1.1\r\n" % (scope["method"].encode(), target)]
    lines += [b"%b: %b\r\n" % header for header in headers]
    return b"".join([*lines, b"\r\n"])
