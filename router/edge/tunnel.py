"""Upgraded connections (WebSocket) under `/models/{m}/…`: the handshake is routed, what follows is a tunnel."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from time import monotonic

import structlog

from router.edge.answer import Answer, failure
from router.edge.chooser import choose_version
from router.edge.codec import Excerpt
from router.edge.inbound import Inbound, Scope
from router.edge.ledger import Ledger
from router.edge.passage import Passage
from router.edge.passthrough import request_head
from router.edge.paths import passed
from router.edge.record import known_json
from router.errors import DeadlineExceeded, PointsmanError, UpstreamFailed
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.link import LinkFailed
from router.upstream.pipe import Pipe
from router.upstream.upstream import Upstream
from router.upstream.work import Attempt

log = structlog.get_logger(__name__)


class Tunnels:
    """Connects a caller's upgraded connection to a replica of the chosen version."""

    def __init__(self, settings: Settings, watch: Watch, upstream: Upstream, ledger: Ledger) -> None:
        self._settings = settings
        self._watch = watch
        self._upstream = upstream
        self._ledger = ledger
        self._open: set[asyncio.Task[None]] = set()

    def start(self, scope: Scope, caller: Pipe) -> None:
        """Takes over a connection whose request asks for an upgrade."""
        task = asyncio.get_running_loop().create_task(self._serve(scope, caller))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def close(self, patience: float) -> None:
        """Waits for open tunnels at most so long, then ends them."""
        if self._open:
            _, late = await asyncio.wait(self._open, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, scope: Scope, caller: Pipe) -> None:
        passage = Passage(Inbound.of(scope), "upgrade")
        try:
            await self._tunnel(passage, scope, caller)
            return
        except PointsmanError as raised:
            error = raised
        except Exception:
            log.exception("request_failed", request_id=passage.inbound.request_id, model=passage.model)
            error = PointsmanError("internal error")
        finally:
            if passage.upstream_ms is not None:
                caller.close()
        if passage.upstream_ms is not None:
            return  # bytes of the replica's answer are out: there is nothing to add
        answer = failure(error)
        try:
            limit = self._settings.log_payload_bytes
            excerpt = known_json(answer.body, limit)
            await self._ledger.write(passage, answer.status, error.message, Excerpt(None), excerpt)
        except PointsmanError as refused:
            answer = failure(refused)
        self._ledger.count(passage, answer.status)
        caller.write(raw(answer, passage))
        caller.close()

    async def _tunnel(self, passage: Passage, scope: Scope, caller: Pipe) -> None:
        route = passed(scope["path"], scope["raw_path"])
        passage.model = route.model
        choice = await choose_version(self._watch, passage, route.pin)
        head = request_head(scope, route, scope["query_string"], passage)
        upgrade = passage.inbound.headers[b"upgrade"]
        head = head[:-2] + b"connection: Upgrade\r\nupgrade: %b\r\n\r\n" % upgrade
        async with self._upstream.doors.pipe(choice.target, passage.attempts) as (replica, pipe):
            passage.replica = replica.id
            began = monotonic()
            pipe.write(head)
            answer = await self._handshake(passage, pipe)
            passage.upstream_ms = (monotonic() - began) * 1e3
            status = int(answer.split(b" ", 2)[1])
            attempt = Attempt(choice.version, replica.id, status, None, round(passage.upstream_ms, 3))
            passage.attempts.append(attempt)
            begin = await self._ledger.begin(passage, Excerpt(None))
            extra = b"".join(b"%b: %b\r\n" % header for header in passage.headers())
            caller.write(answer[:-2] + extra + b"\r\n")
            error: str | None = None
            try:
                pipe.join(caller)
                caller.join(pipe)
                await pipe.closed.wait()
            except asyncio.CancelledError:
                error = "the router shut down"
                raise
            finally:
                sent = {"in": caller.size, "out": pipe.size}
                self._ledger.count(passage, status)
                await asyncio.shield(self._ledger.end(begin, passage, status, error, sent))

    async def _handshake(self, passage: Passage, pipe: Pipe) -> bytes:
        limit = passage.inbound.timeout_ms(self._settings.request_timeout_ms) / 1e3
        try:
            async with asyncio.timeout(limit):
                head = await pipe.head()
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {limit:g} s") from error
        except LinkFailed as error:
            raise UpstreamFailed(f"model {passage.model}: {error}", code="upstream_failed") from error
        if not head.startswith(b"HTTP/1.1 ") or not head[9:12].isdigit():
            raise UpstreamFailed(f"model {passage.model}: the answer is not HTTP", code="upstream_failed")
        return head


def raw(answer: Answer, passage: Passage) -> bytes:
    """An answer as bytes, for a connection that is no longer the HTTP server's."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(answer.body)),
        (b"connection", b"close"),
        *answer.headers,
        *passage.headers(),
    ]
    phrase = HTTPStatus(answer.status).phrase.encode()
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, phrase), *(b"%b: %b\r\n" % each for each in headers)]
    return b"".join([*lines, b"\r\n", answer.body])
