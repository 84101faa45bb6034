"""Upgraded connections (WebSocket) under `/models/{m}/…`: the handshake is routed, what follows is a tunnel."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from http import HTTPStatus
from time import monotonic
from typing import Any

import httptools
import structlog

from router.edge.answer import Answer, failure
from router.edge.chooser import choose_version
from router.edge.codec import Excerpt
from router.edge.hygiene import OURS
from router.edge.inbound import Inbound, Scope
from router.edge.ledger import Ledger
from router.edge.passage import Passage
from router.edge.passthrough import request_head
from router.edge.paths import Route, passed
from router.edge.record import known_json
from router.errors import BadInput, DeadlineExceeded, PointsmanError, UpstreamFailed
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.link import LinkFailed
from router.upstream.pipe import Pipe
from router.upstream.upstream import Upstream
from router.upstream.work import Attempt

log = structlog.get_logger(__name__)

SWITCHED = 101
_HEAD = re.compile(
    rb"HTTP/1\.1 [1-5][0-9]{2}(?: [^\r\n\0]*)?\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*\r\n\Z"
)
LINGER = 10.0  # seconds


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
            if caller.written:
                caller.close()
        if caller.written:
            return  # bytes of the replica's answer are out: there is nothing to add
        answer = failure(error)
        try:
            limit = self._settings.log_payload_bytes
            excerpt = known_json(answer.body, limit)
            await self._ledger.write(passage, answer.status, error.message, Excerpt(None), excerpt)
        except PointsmanError as refused:
            answer = failure(refused)
        self._ledger.count(passage, answer.status)
        if not caller.closed.is_set():
            caller.write(raw(answer, passage))
        caller.close()

    async def _tunnel(self, passage: Passage, scope: Scope, caller: Pipe) -> None:
        route = passed(scope["path"], scope["raw_path"])
        passage.model = route.model
        limit = passage.inbound.timeout_ms(self._settings.request_timeout_ms) / 1e3
        choice = await choose_version(self._watch, passage, route.pin)
        head = upgrade_head(scope, route, passage)
        async with self._upstream.doors.pipe(choice.target, passage.attempts) as (replica, pipe):
            passage.replica = replica.id
            began = monotonic()
            try:
                pipe.write(head)
                answer = await self._handshake(passage, pipe, caller, limit)
            except PointsmanError as failed:
                passage.attempts.append(attempt(passage, failed.status, failed.message, began))
                raise
            passage.upstream_ms = (monotonic() - began) * 1e3
            status = int(answer[9:12])
            passage.attempts.append(attempt(passage, status, None, began))
            begin = await self._ledger.begin(passage, Excerpt(None))
            error: str | None = None
            try:
                caller.write(answer_head(answer, passage))
                if status == SWITCHED:
                    pipe.join(caller)
                    caller.join(pipe)
                    await flowing(pipe, caller)
                else:
                    await refused(pipe, caller, answer, limit)
                error = pipe.lost
            except asyncio.CancelledError:
                error = "the router shut down"
                raise
            finally:
                sent = {"in": caller.size, "out": pipe.size}
                self._ledger.count(passage, status)
                await asyncio.shield(self._ledger.end(begin, passage, status, error, sent))

    async def _handshake(self, passage: Passage, pipe: Pipe, caller: Pipe, limit: float) -> bytes:
        """The head of the replica's answer, interim ones skipped."""
        try:
            async with asyncio.timeout(limit):
                head = await before(caller, pipe.head())
                while head.startswith(b"HTTP/1.1 1") and not head.startswith(b"HTTP/1.1 101"):
                    head = await before(caller, pipe.head())
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer within {limit:g} s") from error
        except LinkFailed as error:
            raise UpstreamFailed(f"model {passage.model}: {error}", code="upstream_failed") from error
        if not is_answer(head):
            raise UpstreamFailed(f"model {passage.model}: the answer is not HTTP", code="upstream_failed")
        return head


class CallerLeft(PointsmanError):
    """Nobody is there to answer; for the record only."""

    status = 499
    code = "caller_left"


class End:
    """Sees the bytes of one answer pass and knows when it is whole."""

    def __init__(self, head: bytes) -> None:
        self.reached = asyncio.Event()
        self._parser = httptools.HttpResponseParser(self)
        self.look(head)

    def look(self, data: bytes) -> None:
        """The next bytes of the answer; what is no HTTP ends it too."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reached.set()

    def on_message_complete(self) -> None:
        """httptools' callback."""
        self.reached.set()


async def before(caller: Pipe, coming: Coroutine[Any, Any, bytes]) -> bytes:
    """What comes, unless the caller hangs up first; raises CallerLeft then."""
    head = asyncio.ensure_future(coming)
    gone = asyncio.ensure_future(caller.closed.wait())
    try:
        await asyncio.wait({head, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not head.done():
            raise CallerLeft("the caller left before the answer")
        return head.result()
    finally:
        head.cancel()
        gone.cancel()


async def flowing(pipe: Pipe, caller: Pipe) -> None:
    """Returns when both sides are closed; the second has LINGER seconds to take what the first had sent."""
    sides = [asyncio.ensure_future(each.closed.wait()) for each in (pipe, caller)]
    try:
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(sides, timeout=LINGER)
    finally:
        for side in sides:
            side.cancel()
        pipe.abort()
        caller.abort()


async def refused(pipe: Pipe, caller: Pipe, answer: bytes, limit: float) -> None:
    """Passes the rest of an answer that did not switch, and nothing the other way.

    An open tunnel to a replica that still speaks HTTP would let the caller send it any request, unwashed.
    """
    end = End(answer)
    pipe.look = end.look
    pipe.join(caller)
    waiting = [asyncio.ensure_future(each.wait()) for each in (end.reached, pipe.closed, caller.closed)]
    try:
        await asyncio.wait(waiting, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def is_answer(head: bytes) -> bool:
    """Whether a replica's head is one to every reader: no line ends elsewhere, none goes on in the next."""
    return _HEAD.match(head) is not None


def upgrade_head(scope: Scope, route: Route, passage: Passage) -> bytes:
    """The handshake as the replica gets it; raises BadInput for one with a body."""
    headers = passage.inbound.headers
    if headers.get(b"content-length", b"0").strip(b"0") or b"transfer-encoding" in headers:
        raise BadInput("a request that asks for an upgrade has no body", code="bad_upgrade")
    head = request_head(scope, route, scope["query_string"], passage)
    # Never the caller's own word: `h2c` would open a second way of speaking HTTP to the replica.
    return head[:-2] + b"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"


def answer_head(answer: bytes, passage: Passage) -> bytes:
    """The replica's head as the caller gets it: our headers are ours; a refusal ends the connection."""
    first, *lines = answer[:-4].split(b"\r\n")
    switched = answer[9:12] == b"%d" % SWITCHED
    dropped = OURS if switched else OURS | {b"connection", b"keep-alive", b"upgrade"}
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in dropped]
    kept += [b"%b: %b" % header for header in passage.headers()]
    if not switched:
        kept.append(b"connection: close")
    return b"\r\n".join([first, *kept, b"", b""])


def attempt(passage: Passage, status: int, error: str | None, began: float) -> Attempt:
    """One handshake as it stands in the record."""
    assert passage.choice is not None
    took_ms = round((monotonic() - began) * 1e3, 3)
    return Attempt(passage.choice.version, passage.replica or "", status, error, took_ms)


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
