"""One prediction, from its head to its answer: the tensor lane's single handler, whatever way it came in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog

from router.edge import v1
from router.edge.answer import Answer, failure
from router.edge.codec import Address, Codec, Excerpt
from router.edge.commit import Commits
from router.edge.inbound import Disconnected, Inbound, Receive, Scope, read_body
from router.edge.metrics import Metrics
from router.edge.record import known_json, record
from router.errors import BadInput, MethodNotAllowed, ModelFailed, NotFound, PointsmanError, TooLarge
from router.journal.journal import LogUnavailable
from router.route.choice import Choice, choose, entry_of
from router.route.watch import Watch
from router.settings import Settings
from router.tensors import Array, check_rows, nonfinite
from router.upstream.upstream import Upstream
from router.upstream.work import Item, Result

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Passage:
    """What is known of a request so far: enough for a record, wherever it stops."""

    inbound: Inbound
    started: float
    codec: Codec = v1.CODEC
    model: str = ""
    known: bool = False  # the model exists: only then its name may label a metric
    choice: Choice | None = None
    key: str | None = None
    item: Item | None = None
    stale: bool = False
    batch_rows: int = 0
    body: bytes = b""


class Predict:
    """Serves the prediction paths of every tensor protocol."""

    def __init__(
        self,
        settings: Settings,
        router: str,
        watch: Watch,
        upstream: Upstream,
        commits: Commits,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._router = router
        self._watch = watch
        self._upstream = upstream
        self._commits = commits
        self._metrics = metrics

    async def __call__(self, where: Callable[[str], Address], scope: Scope, receive: Receive) -> Answer:
        """The answer, already in the journal; `where` reads the path of one protocol.

        Raises Disconnected where nobody waits for an answer.
        """
        passage = Passage(Inbound.of(scope), monotonic())
        error: PointsmanError | None = None
        try:
            answer = await self._predict(passage, where(scope["path"]), scope, receive)
        except PointsmanError as raised:
            error = raised
        except Disconnected:
            raise
        except Exception:
            log.exception("request_failed", request_id=passage.inbound.request_id, model=passage.model)
            error = PointsmanError("internal error")
        if error is not None:
            answer = failure(error)
            if isinstance(error, TooLarge):
                answer.headers.append((b"connection", b"close"))
        return await self._finish(passage, answer, error)

    async def _predict(self, passage: Passage, address: Address, scope: Scope, receive: Receive) -> Answer:
        settings = self._settings
        passage.model, passage.codec = address.model, address.codec
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method'][:20]} is not allowed here, POST is")
        inbound = passage.inbound
        deadline = passage.started + inbound.timeout_ms(settings.request_timeout_ms) / 1e3
        received = min(deadline, passage.started + settings.receive_timeout_ms / 1e3)
        passage.body = await read_body(inbound, receive, settings.tensor_body_bytes, received)
        passage.choice = await self._choose(passage, address.pin)
        target = passage.choice.target
        signature = target.version.signature
        if signature is None:
            raise NotFound(
                f"version {passage.choice.version} of model {passage.model} takes no tensors",
                code="no_tensors",
            )
        call = address.codec.decode(inbound, passage.body, signature)
        rows = check_rows(call.inputs, signature) if target.version.rowwise else 0
        result = await self._exchange(passage, call.inputs, rows, deadline)
        if (name := nonfinite(result.outputs)) is not None:
            raise ModelFailed(
                f"version {passage.choice.version} of model {passage.model}: output {name} is not finite",
                code="nonfinite_output",
                field=name,
            )
        return address.codec.encode(call, result.outputs, passage.model, passage.choice.version)

    async def _choose(self, passage: Passage, pinned: str | None) -> Choice:
        """Takes the routing snapshot once; a table that may be old is confirmed first, or marked."""
        watch = self._watch
        if not watch.fresh:
            passage.stale = not await watch.ensure_fresh()
        entry = entry_of(watch.table, passage.model)
        passage.known = True
        pin = passage.inbound.text(b"x-model-version")
        if pinned is not None:
            if pin is not None and pin != pinned:
                raise BadInput(
                    f"x-model-version says {pin[:80]!r}, the path says {pinned!r}",
                    code="pin_mismatch",
                    field="x-model-version",
                )
            pin = pinned
        kind, _, name = entry.route.sticky_key.partition(":")
        if kind == "header":
            passage.key = passage.inbound.text(name.encode())
        return choose(entry, pin, passage.key, random.random())

    async def _exchange(
        self, passage: Passage, inputs: dict[str, Array], rows: int, deadline: float
    ) -> Result:
        assert passage.choice is not None
        size = sum(array.nbytes for array in inputs.values())
        item = Item(inputs, rows, size, deadline, monotonic(), asyncio.get_running_loop().create_future())
        passage.item = item
        self._upstream.submit(passage.choice.target, item)
        result = await item.future
        passage.batch_rows = result.batch_rows
        return result

    async def _finish(self, passage: Passage, answer: Answer, error: PointsmanError | None) -> Answer:
        """Headers, record, counters: the record is written before the answer's first byte."""
        total_ms = (monotonic() - passage.started) * 1e3
        self._headers(passage, answer)
        entry = record(
            request_id=passage.inbound.request_id,
            model=passage.model,
            router=self._router,
            protocol=passage.codec.name,
            choice=passage.choice,
            item=passage.item,
            key=passage.key,
            status=answer.status,
            error=None if error is None else error.message,
            stale=passage.stale,
            batch_rows=passage.batch_rows,
            total_ms=total_ms,
            payload=self._payload(passage, answer),
        )
        try:
            await self._commits.append(entry)
        except LogUnavailable as refused:
            answer = failure(refused)
            self._headers(passage, answer)
        self._count(passage, answer, total_ms)
        return answer

    def _headers(self, passage: Passage, answer: Answer) -> None:
        headers = answer.headers
        headers.append((b"x-request-id", passage.inbound.request_id.encode()))
        choice = passage.choice
        if choice is not None:
            headers.append((b"x-model-version", choice.version.encode()))
            headers.append((b"x-route-epoch", b"%d" % choice.epoch))
            headers.append((b"x-route-reason", choice.reason.encode()))
        if passage.stale:
            headers.append((b"x-route-stale", b"1"))
        if answer.status == 405:
            headers.append((b"allow", b"POST"))

    def _payload(self, passage: Passage, answer: Answer) -> dict[str, Any]:
        limit = self._settings.log_payload_bytes
        request = passage.codec.excerpt(passage.inbound, passage.body, limit)
        written = passage.codec.answer_excerpt if answer.status == 200 else _own_json
        response = written(answer, limit)
        return {
            "request": request.value,
            "response": response.value,
            "truncated": request.truncated or response.truncated,
        }

    def _count(self, passage: Passage, answer: Answer, total_ms: float) -> None:
        choice, item = passage.choice, passage.item
        model = passage.model if passage.known else ""
        version = "" if choice is None else choice.version
        reason = "" if choice is None else choice.reason
        self._metrics.count(model, version, reason, answer.status)
        if item is not None:
            self._metrics.observe(
                model, version, total_ms, item.queue_ms, item.upstream_ms, passage.batch_rows
            )
        if passage.stale:
            self._metrics.count_stale(model, version)


def _own_json(answer: Answer, limit: int) -> Excerpt:
    """An error's body."""
    return known_json(answer.body, limit)
