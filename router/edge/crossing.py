"""One small pass-through request, from its path to its recorded answer, by callbacks: no task, no waiting.

It goes only where nothing has to be waited for but the replica; what is wrong before a byte was sent is left to
the other way, and an answer that turns out to be a stream is handed over to it.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol

import structlog

from router.edge.answer import Answer, failure
from router.edge.chooser import choose_now
from router.edge.codec import Excerpt
from router.edge.deadlines import Deadlines
from router.edge.exchange import IDEMPOTENT, LEFT, Begun, Failed, attempt, broken, is_small
from router.edge.hygiene import Headers, forwarded_lines, header_lines, to_caller
from router.edge.ledger import Ledger
from router.edge.offload import HEAVY
from router.edge.pass_head import PassHead
from router.edge.passage import Passage
from router.edge.passthrough import PassThrough
from router.edge.record import known_json, record
from router.edge.relay import whole
from router.errors import DeadlineExceeded, PointsmanError
from router.journal.journal import LogUnavailable
from router.route.watch import Watch
from router.settings import Settings
from router.upstream.door import Door
from router.upstream.stream import Stream
from router.upstream.upstream import Upstream

log = structlog.get_logger(__name__)


class PassDesk:
    """What all passed-through requests of a router share."""

    def __init__(
        self, settings: Settings, watch: Watch, upstream: Upstream, ledger: Ledger, passthrough: PassThrough
    ) -> None:
        self.settings = settings
        self.watch = watch
        self.upstream = upstream
        self.ledger = ledger
        self.passthrough = passthrough
        self.deadlines = Deadlines()
        self.largest = min(HEAVY, settings.pass_body_bytes)
        self.required = settings.data_keys == "required"


class Sink(Protocol):
    """Who gets the answer."""

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """A whole answer, its record written: status, header lines, body."""

    def stream(self, begun: Begun) -> None:
        """The answer is one of those that are passed on in pieces, and nothing of it is recorded yet."""

    def again(self, failed: Failed) -> None:
        """Nothing is recorded, and another replica may be asked; that is paid for."""


class Crossing:
    """One exchange with a replica; `sink` hears of its end exactly once, unless `leave` came before."""

    __slots__ = (
        "_answer", "_began", "_body", "_desk", "_door", "_head", "_headers", "_limit", "_ours", "_passage",
        "_sink", "_stream",
    )  # fmt: skip

    def __init__(self, desk: PassDesk, sink: Sink) -> None:
        self._desk = desk
        self._sink: Sink | None = sink
        self._stream: Stream | None = None  # while the exchange is under way
        self._door: Door
        self._passage: Passage
        self._head: PassHead
        self._headers: Headers = []
        self._body = self._ours = b""

    # -- the way in ----------------------------------------------------------------------------------------

    def begin(self, head: PassHead, body: bytes, client: str | None, scheme: str) -> bool:
        """Sends the request; False where that has to wait for something or meets an error: nothing is sent."""
        desk = self._desk
        if not desk.watch.fresh or desk.passthrough.lag.share:
            return False
        self._head, route = head, head.route
        self._body = body
        inbound = head.inbound()
        passage = self._passage = Passage(inbound, "pass")
        passage.model = route.model
        self._limit = inbound.timeout_ms(desk.settings.request_timeout_ms) / 1e3
        try:
            choice = choose_now(desk.watch, passage, route.pin)
        except PointsmanError:
            return False  # the other way meets the same error, and is the one to tell it
        began = self._began = monotonic()
        found = desk.upstream.doors.at_hand(choice.target, began)
        if found is None:
            return False
        door, stream = found
        self._door = door
        passage.replica = door.replica.id
        self._ours = passage.lines()
        forwarded = forwarded_lines(route.prefix, client, scheme)
        self._stream = stream
        stream.follow(self._changed)
        stream.start(b"".join((head.start, forwarded, self._ours, b"\r\n", body)), bodyless=False)
        desk.deadlines.watch(self, began + self._limit)
        return True

    # -- what happens meanwhile ----------------------------------------------------------------------------

    def leave(self) -> None:
        """Nobody waits for the answer."""
        self._sink = None
        if self._stream is not None:
            self._stream.close()
            self._door.left()
            log.info("caller_left", request_id=self._passage.inbound.request_id, sent=0)
            self._over(LEFT, "the caller left")
            self._settle(LEFT, "the caller left before the answer", b"", b"", Excerpt(None))

    def late(self) -> None:
        """The replica's time is over."""
        if self._stream is None:
            return
        if self._stream.head_done:
            idle = self._desk.settings.stream_idle_ms / 1e3
            self._fail(DeadlineExceeded(f"the replica was silent for {idle:g} s"))
        else:
            now = monotonic()
            self._door.late(now - self._began, now)
            self._fail(DeadlineExceeded(f"no answer within {self._limit:g} s"))

    def _changed(self) -> None:
        """Something came from the replica, or the connection broke. Never raises."""
        stream = self._stream
        if stream is None:
            return
        try:
            self._look(stream)
        except Exception:
            request_id = self._passage.inbound.request_id
            log.exception("request_failed", request_id=request_id, model=self._passage.model)
            self._fail(PointsmanError("internal error"))

    def _look(self, stream: Stream) -> None:
        passage = self._passage
        if stream.head_done and passage.upstream_ms is None:
            now = monotonic()
            took = now - self._began
            passage.upstream_ms = took * 1e3
            self._door.answered(stream.status, took, self._limit, now)
            host = passage.inbound.headers.get(b"host", b"")
            self._headers = to_caller(stream.headers, prefix=self._head.route.prefix, host=host)
            if not is_small(stream, self._headers):
                self._hand_over(stream)
                return
        if stream.done:
            self._whole(stream)
        elif stream.failed is not None:
            self._broken(stream.failed)
        elif stream.head_done:
            self._desk.deadlines.watch(self, monotonic() + self._desk.settings.stream_idle_ms / 1e3)

    def _broken(self, why: str) -> None:
        """No whole answer came: another replica is asked where that is safe."""
        passage, door, now = self._passage, self._door, monotonic()
        error, until = broken(passage, why), self._began + self._limit
        door.broke(now)
        assert passage.choice is not None
        sink, doors = self._sink, self._desk.upstream.doors
        safe = self._head.method in IDEMPOTENT and now < until and sink is not None
        if not safe or not doors.may_repeat(passage.choice.target, door, now):
            self._fail(error, why)
            return
        self._over(error.status, why)
        self._sink = None
        assert sink is not None
        sink.again(Failed(passage, door, self._body, error, until))

    def _hand_over(self, stream: Stream) -> None:
        sink, self._sink, self._stream = self._sink, None, None
        self._desk.deadlines.forget(self)
        stream.follow(None)
        assert sink is not None
        sink.stream(Begun(self._passage, self._door, stream, self._body, self._headers, self._began))

    # -- the way out ---------------------------------------------------------------------------------------

    def _whole(self, stream: Stream) -> None:
        """A small answer: one record, then all of it."""
        status, headers, body = stream.status, self._headers, stream.taken()
        if stream.empty:
            headers = [header for header in headers if header[0] != b"content-length"]
        kind = dict(headers).get(b"content-type", b"")
        self._over(status, None)
        limit = self._desk.settings.log_payload_bytes
        self._settle(status, None, header_lines(headers), body, whole(body, kind, limit))

    def _fail(self, error: PointsmanError, told: str | None = None) -> None:
        """The exchange failed; `told` is what its attempt says where that is not the error."""
        if self._stream is None:
            return
        self._stream.close()
        self._over(502 if told is not None else error.status, told or str(error))
        answer = failure(error)
        excerpt = known_json(answer.body, self._desk.settings.log_payload_bytes)
        self._settle(answer.status, error.message, answer_lines(answer), answer.body, excerpt)

    def _over(self, status: int, error: str | None) -> None:
        """The exchange is over: its connection goes back, its attempt is noted."""
        stream, self._stream = self._stream, None
        assert stream is not None
        self._desk.deadlines.forget(self)
        stream.follow(None)
        self._door.release(stream)
        self._passage.attempts.append(attempt(self._passage, status, error, self._began))

    def _settle(self, status: int, error: str | None, lines: bytes, body: bytes, response: Excerpt) -> None:
        """The record goes before the answer's first byte."""
        desk, passage = self._desk, self._passage
        kind = passage.inbound.headers.get(b"content-type", b"")
        self._answer: tuple[int, bytes, bytes] = status, lines, body
        try:
            entry = record(
                passage,
                desk.ledger.router,
                status=status,
                error=error,
                total_ms=(monotonic() - passage.started) * 1e3,
                request=whole(self._body, kind, desk.settings.log_payload_bytes),
                response=response,
            )
        except Exception as failed:  # else its caller would wait for ever
            self._recorded("", failed)
        else:
            desk.ledger.push(entry, self._recorded)

    def _recorded(self, _: str, refused: Exception | None) -> None:
        status, lines, body = self._answer
        if refused is not None:
            if not isinstance(refused, LogUnavailable):
                log.error("record_failed", request_id=self._passage.inbound.request_id, exc_info=refused)
                refused = PointsmanError("internal error")
            answer = failure(refused)
            status, body = answer.status, answer.body
            lines = answer_lines(answer)
        self._desk.ledger.count(self._passage, status)
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.respond(status, lines + self._ours, body)


def answer_lines(answer: Answer) -> bytes:
    """The headers of an answer of ours, as lines."""
    length = b"%d" % len(answer.body)
    return header_lines([(b"content-type", answer.kind), (b"content-length", length), *answer.headers])
