"""One prediction, from its head to its answer: the tensor lane's single handler, whatever protocol it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic

import structlog

from router.documents import Signature
from router.edge import compression
from router.edge.answer import Answer, failure
from router.edge.chooser import choose_version
from router.edge.codec import Address, Call, Codec
from router.edge.inbound import Disconnected, Inbound, Receive, Scope, read_body
from router.edge.ledger import Ledger
from router.edge.offload import HEAVY, Offload
from router.edge.passage import Passage
from router.edge.record import known_json
from router.errors import MethodNotAllowed, ModelFailed, NotFound, PointsmanError
from router.journal.journal import LogUnavailable
from router.route.watch import Watch
from router.settings import Settings
from router.tensors import Array, check_rows, nonfinite
from router.upstream.upstream import Upstream
from router.upstream.work import Item, Result

log = structlog.get_logger(__name__)


class Predict:
    """Serves the prediction paths of every tensor protocol."""

    def __init__(
        self, settings: Settings, watch: Watch, upstream: Upstream, ledger: Ledger, offload: Offload
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._upstream = upstream
        self._ledger = ledger
        self._offload = offload

    async def __call__(
        self, codec: Codec, where: Callable[[str], Address], scope: Scope, receive: Receive
    ) -> Answer:
        """The answer, already in the journal; `where` reads the paths of the codec's protocol.

        Raises Disconnected where nobody waits for an answer.
        """
        passage = Passage(Inbound.of(scope), codec.name)
        body = b""
        error: PointsmanError | None = None
        try:
            address = where(scope["path"])
            passage.model = address.model
            passage.known = address.model in self._watch.table.entries
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{scope['method'][:20]} is not allowed here, POST is")
            body = await self._body(passage, receive)
            body = await compression.received(passage.inbound, body, self._settings.tensor_body_bytes)
            answer = await self._predict(passage, codec, address, body)
        except PointsmanError as raised:
            # Its frames hold the body, and this one holds it: a cycle that would wait for the collector.
            error = raised.with_traceback(None)
        except Disconnected:
            raise
        except Exception:
            log.exception("request_failed", request_id=passage.inbound.request_id, model=passage.model)
            error = PointsmanError("internal error")
        if error is not None:
            answer = failure(error)
        return await self._finish(passage, codec, body, answer, error)

    async def _body(self, passage: Passage, receive: Receive) -> bytes:
        settings = self._settings
        longest = min(passage.inbound.timeout_ms(settings.request_timeout_ms), settings.receive_timeout_ms)
        return await read_body(
            passage.inbound, receive, settings.tensor_body_bytes, passage.started + longest / 1e3
        )

    async def _predict(self, passage: Passage, codec: Codec, address: Address, body: bytes) -> Answer:
        choice = await choose_version(self._watch, passage, address.pin)
        version = choice.target.version
        if version.signature is None:
            raise NotFound(
                f"version {version.version} of model {version.model} takes no tensors", code="no_tensors"
            )
        call = await self._decode(passage, codec, body, version.signature)
        rows = check_rows(call.inputs, version.signature) if version.rowwise else 0
        result = await self._exchange(passage, call.inputs, rows)
        if (name := nonfinite(result.outputs)) is not None:
            raise ModelFailed(
                f"version {version.version} of model {version.model}: output {name} is not finite",
                code="nonfinite_output",
                field=name,
            )
        heavy = sum(array.nbytes for array in result.outputs.values()) > HEAVY
        if not heavy:
            return codec.encode(call, result.outputs, version.model, version.version)
        work = partial(codec.encode, Call({}, call.memo), result.outputs, version.model, version.version)
        return await self._offload.run(self._deadline(passage), work)

    async def _decode(self, passage: Passage, codec: Codec, body: bytes, signature: Signature) -> Call:
        if codec.json_bytes(passage.inbound, body) <= HEAVY:
            return codec.decode(passage.inbound, body, signature)
        work = partial(codec.decode, passage.inbound, body, signature)
        return await self._offload.run(self._deadline(passage), work)

    def _deadline(self, passage: Passage) -> float:
        longest = passage.inbound.timeout_ms(self._settings.request_timeout_ms)
        return passage.started + longest / 1e3

    async def _exchange(self, passage: Passage, inputs: dict[str, Array], rows: int) -> Result:
        assert passage.choice is not None
        size = sum(array.nbytes for array in inputs.values())
        future = asyncio.get_running_loop().create_future()
        item = Item(inputs, rows, size, self._deadline(passage), monotonic(), future)
        passage.item = item
        self._upstream.submit(passage.choice.target, item)
        result = await item.future
        passage.batch_rows = result.batch_rows
        return result

    async def _finish(
        self, passage: Passage, codec: Codec, body: bytes, answer: Answer, error: PointsmanError | None
    ) -> Answer:
        """Headers, record, counters: the record is written before the answer's first byte."""
        limit = self._settings.log_payload_bytes
        written = codec.answer_excerpt(answer, limit) if error is None else known_json(answer.body, limit)
        try:
            await self._ledger.write(
                passage,
                answer.status,
                None if error is None else error.message,
                codec.excerpt(passage.inbound, body, limit),
                written,
            )
        except LogUnavailable as refused:
            answer = failure(refused)
        answer.headers += passage.headers()
        if answer.status == 405:
            answer.headers.append((b"allow", b"POST"))
        if error is not None and error.closes:
            answer.headers.append((b"connection", b"close"))
        self._ledger.count(passage, answer.status)
        if codec.name != "v1":  # v1's clients ask for gzip by default, and pay more for it than it saves
            await compression.compress(passage.inbound, answer)
        return answer
