"""One prediction, from its head to its answer: the tensor lane's single handler, whatever way it came in."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog

from router.edge import v1
from router.edge.answer import Answer, failure
from router.edge.commit import Commits
from router.edge.inbound import Disconnected, Inbound, Receive, Scope, read_body
from router.edge.metrics import Metrics
from router.edge.record import excerpt, record, text_excerpt
from router.errors import BadInput, MethodNotAllowed, ModelFailed, NotFound, PointsmanError, TooLarge
from router.journal.journal import LogUnavailable
from router.names import NAME
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
    protocol: str
    started: float
    model: str = ""
    known: bool = False  # the model exists: only then its name may label a metric
    choice: Choice | None = None
    key: str | None = None
    item: Item | None = None
    stale: bool = False
    batch_rows: int = 0
    body: bytes = b""
    is_json: bool = False


class Predict:
    """Serves `/v1/models/{m}:predict` and `/v1/models/{m}/versions/{v}:predict`."""

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

    async def __call__(self, scope: Scope, receive: Receive) -> Answer:
        """The answer, already in the journal. Raises Disconnected where nobody waits for one."""
        passage = Passage(Inbound.of(scope), "v1", monotonic())
        error: PointsmanError | None = None
        try:
            answer = Answer(200, await self._predict(passage, scope, receive))
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

    async def _predict(self, passage: Passage, scope: Scope, receive: Receive) -> bytes:
        settings = self._settings
        passage.model, pinned = parse_path(scope["path"])
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method'][:20]} is not allowed here, POST is")
        inbound = passage.inbound
        deadline = passage.started + inbound.timeout_ms(settings.request_timeout_ms) / 1e3
        received = min(deadline, passage.started + settings.receive_timeout_ms / 1e3)
        passage.body = await read_body(inbound, receive, settings.tensor_body_bytes, received)
        passage.choice = await self._choose(passage, pinned)
        target = passage.choice.target
        signature = target.version.signature
        if signature is None:
            raise NotFound(
                f"version {passage.choice.version} of model {passage.model} takes no tensors",
                code="no_tensors",
            )
        document = v1.parse(passage.body)
        passage.is_json = True
        form, inputs = v1.decode(document, signature)
        rows = check_rows(inputs, signature) if target.version.rowwise else 0
        result = await self._exchange(passage, inputs, rows, deadline)
        if (name := nonfinite(result.outputs)) is not None:
            raise ModelFailed(
                f"version {passage.choice.version} of model {passage.model}: output {name} is not finite",
                code="nonfinite_output",
                field=name,
            )
        return v1.encode(form, result.outputs)

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
            protocol=passage.protocol,
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
        cut = excerpt if passage.is_json else text_excerpt
        request, request_cut = cut(passage.body, limit)
        response, response_cut = excerpt(answer.body, limit)
        return {"request": request, "response": response, "truncated": request_cut or response_cut}

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


def parse_path(path: str) -> tuple[str, str | None]:
    """Model and pinned version of a v1 prediction path; raises NotFound where it is none."""
    rest, colon, verb = path.removeprefix("/v1/models/").partition(":")
    if not colon or verb != "predict":
        raise NotFound(f"there is nothing at {path[:200]!r}", code="unknown_path")
    model, *pin = rest.split("/versions/")
    if not NAME.match(model):
        raise NotFound(f"there is no model {model[:80]!r}", code="unknown_model")
    if not pin:
        return model, None
    if len(pin) > 1 or not NAME.match(pin[0]):
        raise NotFound(f"model {model} has no version {pin[0][:80]!r}", code="unknown_version")
    return model, pin[0]
