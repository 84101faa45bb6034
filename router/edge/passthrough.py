"""The pass-through lane: any route of a version under `/models/{m}/…`, streamed both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

import structlog

from router.edge.answer import Answer, failure
from router.edge.answering import Answering
from router.edge.chooser import choose_version
from router.edge.exchange import LEFT, Ask, Begun, Failed, attempt, broken
from router.edge.hygiene import forwarded_lines, replica_start
from router.edge.inbound import Inbound, Receive, Scope, Send
from router.edge.ledger import Ledger
from router.edge.passage import Passage
from router.edge.paths import Route, passed
from router.edge.record import known_json
from router.edge.relay import Relay, Upload
from router.edge.shedding import Shedding
from router.edge.tasks import task_call
from router.errors import DeadlineExceeded, PointsmanError, TooLarge, Unavailable, UpstreamFailed
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.door import Door
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
        self._answering = Answering(settings, ledger)

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

    async def again(self, failed: Failed, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI too: a request that a replica broke, to another one."""
        kept = self._settings.log_payload_bytes
        upload, relay = Upload(receive, len(failed.body), kept), Relay(send, kept)
        work = self._once_more(failed, scope, upload, relay)
        await self._guarded(failed.passage, upload, relay, send, work)

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
        ask = Ask(scope["method"], request_head(scope, route, query, passage), route, choice.target, wanted)
        until = monotonic() + limit
        try:
            await self._asked(passage, ask, upload, relay, limit)
        except UpstreamFailed as error:
            door, untold = ask.door, not relay.started and not relay.recorded
            bodyless = upload.size == 0 and not upload.unfinished
            if door is None or wanted is not None or not (untold and bodyless and ask.idempotent):
                raise
            if upload.left or not self._upstream.doors.may_repeat(ask.target, door, monotonic()):
                raise
            await self._elsewhere(passage, ask, upload, relay, until, error)

    async def _once_more(self, failed: Failed, scope: Scope, upload: Upload, relay: Relay) -> None:
        passage = failed.passage
        assert passage.choice is not None
        route = passed(scope["path"], scope["raw_path"])
        head = request_head(scope, route, scope["query_string"], passage)
        ask = Ask(scope["method"], head, route, passage.choice.target, None, failed.door)
        await self._elsewhere(passage, ask, upload, relay, failed.until, failed.error)

    async def _elsewhere(
        self, passage: Passage, ask: Ask, upload: Upload, relay: Relay, until: float, error: UpstreamFailed
    ) -> None:
        """Asks another replica than `ask.door`; where none takes it, the first one's error stands."""
        remaining = until - monotonic()
        if remaining <= 0:
            raise error
        try:
            await self._asked(passage, ask, upload, relay, remaining)
        except Unavailable as none:
            if none.code in ("not_ready", "overloaded"):
                raise error from none
            raise

    async def _asked(self, passage: Passage, ask: Ask, upload: Upload, relay: Relay, limit: float) -> None:
        doors = self._upstream.doors
        async with doors.stream(ask.target, ask.wanted, passage.attempts, ask.door) as (door, stream):
            ask.door = door
            passage.replica = door.replica.id

            def answering() -> Work:
                stream.start(ask.head, bodyless=ask.method == "HEAD")
                return self._answering.answer(passage, ask.route, door, stream, upload, relay, limit)

            await self._carried(passage, door, stream, upload, relay, answering)

    async def _rest(self, begun: Begun, upload: Upload, relay: Relay) -> None:
        passage, stream = begun.passage, begun.stream

        def answering() -> Work:
            return self._answering.streamed(passage, stream, upload, relay, begun.headers, begun.began)

        try:
            await self._carried(passage, begun.door, stream, upload, relay, answering)
        finally:
            begun.door.release(stream)

    async def _carried(
        self,
        passage: Passage,
        door: Door,
        stream: Stream,
        upload: Upload,
        relay: Relay,
        answering: Callable[[], Work],
    ) -> None:
        """One exchange and how it stands in the record, however it ends."""
        began = monotonic()
        try:
            await self._exchange(passage, stream, upload, relay, answering())
            if upload.left:
                door.left()
            if upload.left and not relay.recorded:
                passage.attempts.append(attempt(passage, LEFT, "the caller left", began))
        except (PointsmanError, LinkFailed) as error:
            self._held_against(door, stream, upload, error, began)
            stream.close()
            if not relay.recorded:  # else the attempt stands in its record
                status = error.status if isinstance(error, PointsmanError) else 502
                passage.attempts.append(attempt(passage, status, str(error), began))
            if relay.started or isinstance(error, PointsmanError):
                raise
            raise broken(passage, error) from error
        except BaseException:
            door.left()
            stream.close()
            raise

    def _held_against(
        self, door: Door, stream: Stream, upload: Upload, error: Exception, began: float
    ) -> None:
        """What a failed exchange says about its replica."""
        now = monotonic()
        if isinstance(error, LinkFailed):
            door.broke(now)
        elif isinstance(error, DeadlineExceeded) and not stream.head_done and error.code != "receive_timeout":
            door.late(min(now - began, upload.silence(now)), now)
        else:
            door.left()

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
