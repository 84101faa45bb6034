"""One prediction, from its path to its recorded answer: the one handler, whatever protocol and way it came by.

It runs through without a task or a thread where nothing has to be waited for but the replica; where something
has (a table to confirm, a coding to undo, a large body) it goes on in a task of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

import structlog

from router.documents import Signature, Version
from router.edge import compression
from router.edge.answer import Answer, failure
from router.edge.chooser import admit, choose_now, confirmed
from router.edge.codec import Address, Call, Codec
from router.edge.desk import Desk
from router.edge.fallback import Second, fall_back
from router.edge.inbound import Inbound
from router.edge.offload import HEAVY
from router.edge.passage import Passage
from router.edge.record import NOTHING, known_json, record
from router.errors import Denied, MethodNotAllowed, ModelFailed, NotFound, PointsmanError
from router.journal.journal import LogUnavailable
from router.tensors import check_extent, check_rows, nonfinite
from router.upstream.work import Item, Result

log = structlog.get_logger(__name__)

Sink = Callable[[Answer], None]


class Prediction:
    """To the lane it is the future of its item; `sink` gets the answer once its record is written.

    The headers that its passage tells are not in the answer: each way out writes them in its own form.
    """

    __slots__ = (
        "_answer", "_error", "_sink", "body", "call", "codec", "desk", "fell", "over", "passage", "second",
    )  # fmt: skip

    def __init__(self, desk: Desk, inbound: Inbound, codec: Codec, sink: Sink) -> None:
        self.desk = desk
        self._sink: Sink | None = sink
        self.over = False
        self.fell = False
        self.second: Second | None = None
        self.call: Call | None = None
        self._answer: Answer | None = None
        self._error: PointsmanError | None = None
        self.codec = codec
        self.body = b""
        self.passage = Passage(inbound, codec.name)

    # -- the way in ----------------------------------------------------------------------------------------

    def accept(self, where: Callable[[str], Address], method: str, path: str) -> Address:
        """Reads the path; raises NotFound, MethodNotAllowed, BadInput for a bad time-out."""
        address = where(path)
        self.passage.model = address.model
        self.passage.known = address.model in self.desk.watch.table.entries
        if method != "POST":
            raise MethodNotAllowed(f"{method[:20]} is not allowed here, POST is")
        self.deadline()
        desk = self.desk
        admission = desk.watch.table.admission
        if admission.required and desk.watch.fresh:  # before a body is taken in; a stale table is asked later
            admit(admission, self.passage)
        return address

    def deadline(self) -> float:
        """When the caller's time is over, by `time.monotonic`; raises BadInput for a bad header."""
        longest = self.passage.inbound.timeout_ms(self.desk.settings.request_timeout_ms)
        return self.passage.started + longest / 1e3

    def begin(self, address: Address, body: bytes) -> None:
        """Goes all the way to the lane, at once where it can; never raises."""
        if self.over:
            return
        self.body = body
        self.passage.model = address.model
        lag = self.desk.lag
        try:
            if lag.share:
                lag.look(address.model if address.model in self.desk.watch.table.entries else "")
            if self._must_wait(body):
                self.desk.spawn(self._begin_slowly(address))
                return
            version, signature = self._choose(address)
            self.submit(version, self.codec.decode(self.passage.inbound, body, signature))
        except Exception as error:
            self.set_exception(error)

    def _must_wait(self, body: bytes) -> bool:
        return (
            len(body) > HEAVY
            or b"content-encoding" in self.passage.inbound.headers
            or not self.desk.watch.fresh
        )

    async def _begin_slowly(self, address: Address) -> None:
        desk, inbound = self.desk, self.passage.inbound
        try:
            self.body = await compression.received(inbound, self.body, desk.settings.tensor_body_bytes)
            await confirmed(desk.watch, self.passage)
            version, signature = self._choose(address)
            if self.codec.json_bytes(inbound, self.body) <= HEAVY:
                call = self.codec.decode(inbound, self.body, signature)
            else:
                work = partial(self.codec.decode, inbound, self.body, signature)
                call = await desk.offload.run(self.deadline(), work)
            if not self.over:
                self.submit(version, call)
        except Exception as error:
            self.set_exception(error)

    def _choose(self, address: Address) -> tuple[Version, Signature]:
        version = choose_now(self.desk.watch, self.passage, address.pin).target.version
        if version.signature is None:
            raise NotFound(
                f"version {version.version} of model {version.model} takes no tensors", code="no_tensors"
            )
        return version, version.signature

    def submit(self, version: Version, call: Call, second: Second | None = None) -> None:
        """Hands it to the lane of the chosen version; raises BadInput, Unavailable."""
        assert self.passage.choice is not None
        assert version.signature is not None
        self.call = call
        check_extent(call.inputs, self.desk.settings.request_tensors, self.desk.settings.request_rows)
        rows = check_rows(call.inputs, version.signature) if version.rowwise else 0
        size = 0
        for array in call.inputs.values():
            size += array.nbytes
        item = Item(call.inputs, rows, size, self.deadline(), monotonic(), second or self)
        if second is not None and self.passage.item is not None:
            item.attempts = self.passage.item.attempts
        self.passage.item = item
        self.desk.upstream.submit(self.passage.choice.target, item)

    # -- the lane's view of it -----------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether it waits for its first version no more."""
        return self.over or self.second is not None

    def set_result(self, result: Result) -> None:
        """The outputs are there."""
        if not self.done():
            self.settle(result)

    def set_exception(self, error: BaseException) -> None:
        """There will be no outputs; also for what fails before the lane."""
        if not self.done() and not fall_back(self, error):
            self.fail(error)

    def overdue(self) -> bool:
        """No answer in the usual time, and no other replica to ask; whether another version is asked instead."""
        return not self.done() and fall_back(self, None)

    def abandon(self) -> None:
        """The caller left: nothing more is computed or sent for it."""
        self.over = True
        self._sink = None

    # -- the way out ---------------------------------------------------------------------------------------

    def settle(self, result: Result) -> None:
        """The outputs of whichever version was asked last."""
        if self.over:
            return
        self.over = True
        self.passage.batch_rows = result.batch_rows
        try:
            if result.size > HEAVY:
                self.desk.spawn(self._encode_slowly(result))
            else:
                self._answered(self._encoded(result))
        except Exception as error:
            self._spoilt(error)

    def fail(self, error: BaseException) -> None:
        """There will be no outputs from any version."""
        if not self.over:
            self.over = True
            self._failed(error)

    def _spoilt(self, error: Exception) -> None:
        """The outputs cannot be given to anybody; perhaps another version's can."""
        self.over = False
        if not fall_back(self, error):
            self.fail(error)

    def _encoded(self, result: Result) -> Answer:
        """The answer, from what the batch shares where that serves; raises as `_encoding` does."""
        choice, call = self.passage.choice, self.call
        assert choice is not None
        assert call is not None
        answer = None
        if result.batch.finite:
            version = choice.target.version
            answer = self.codec.encode_rows(call.memo, result, version.model, version.version)
        return self._encoding(result)() if answer is None else answer

    def _encoding(self, result: Result) -> Callable[[], Answer]:
        """How the answer is made; raises ModelFailed for outputs nobody may have."""
        assert self.passage.choice is not None
        assert self.call is not None
        version, outputs = self.passage.choice.target.version, result.outputs
        if not result.batch.finite and (name := nonfinite(outputs)) is not None:
            raise ModelFailed(
                f"version {version.version} of model {version.model}: output {name} is not finite",
                code="nonfinite_output",
                field=name,
            )
        call = Call({}, self.call.memo)
        return partial(self.codec.encode, call, outputs, version.model, version.version)

    async def _encode_slowly(self, result: Result) -> None:
        try:
            self._answered(await self.desk.offload.run(self.deadline(), self._encoding(result)))
        except Exception as error:
            self._spoilt(error)

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, PointsmanError):
            passage = self.passage
            log.error(
                "request_failed",
                request_id=passage.inbound.request_id,
                model=passage.model,
                exc_info=error,
            )
            error = PointsmanError("internal error")
        # Its frames hold the body, and this object holds it: a cycle that would wait for the collector.
        self._error = error.with_traceback(None)
        self._answered(failure(self._error))

    def _answered(self, answer: Answer) -> None:
        """The record goes before the answer's first byte."""
        if self._sink is None:
            return
        self._answer = answer
        desk, passage, limit = self.desk, self.passage, self.desk.settings.log_payload_bytes
        error = self._error
        entry = record(
            passage,
            desk.ledger.router,
            status=answer.status,
            error=None if error is None else error.message,
            total_ms=(monotonic() - passage.started) * 1e3,
            request=NOTHING
            if isinstance(error, Denied)
            else self.codec.excerpt(passage.inbound, self.body, limit, read=self.call is not None),
            response=self.codec.answer_excerpt(answer, limit)
            if error is None
            else known_json(answer.body, limit),
        )
        desk.ledger.push(entry, self._recorded)

    def _recorded(self, _: str, refused: Exception | None) -> None:
        answer, passage = self._answer, self.passage
        assert answer is not None
        if refused is not None:
            if not isinstance(refused, LogUnavailable):
                log.error("record_failed", request_id=passage.inbound.request_id, exc_info=refused)
                refused = PointsmanError("internal error")
            answer = failure(refused)
        if answer.status == 405:
            answer.headers.append((b"allow", b"POST"))
        if self._error is not None and self._error.closes:
            answer.headers.append((b"connection", b"close"))
        self.desk.ledger.count(passage, answer.status)
        if len(answer.body) >= compression.SMALLEST:
            self.desk.spawn(self._compress(answer))
        else:
            self._deliver(answer)

    async def _compress(self, answer: Answer) -> None:
        await compression.compress(self.passage.inbound, answer)
        self._deliver(answer)

    def _deliver(self, answer: Answer) -> None:
        sink, self._sink = self._sink, None
        self.passage.item = None  # the item knows this object: a ring that only the collector would free
        if sink is not None:
            sink(answer)
