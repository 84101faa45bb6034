"""Writes refused attempts into the audit; no answer to a change leaves before its signed head is on the disk.

A pure ASGI layer around all that refuses. It judges nothing itself.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from dataclasses import replace as with_

import orjson
import structlog
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.access.principal import Principal
from router.audit.budget import Budget
from router.control.plane import PRINCIPAL, Plane
from router.names import NAME
from router.outward import without_places
from router.registry.audit import Actor, Refusal
from router.registry.heads import keep_heads
from router.registry.keys import INSTALLATION, KEYRING
from router.registry.refusals import Refusals
from router.veil import veiled_text

WRITE_S = 0.5  # longest wait of a refusal for its entry
FOLLOW_S = 30.0  # how often counted refusals are written down, and heads that others signed are kept here too
PATH_CHARS, ERROR_CHARS = 200, 300
READS = frozenset({"GET", "HEAD", "OPTIONS"})
NO_ATTEMPT = frozenset({"not_found", "method_not_allowed", "hung_up", "receive_timeout"})
"""There is nothing that was asked for, or the question never arrived."""

API = "/api/v1/"
OF_MODEL = re.compile(r"models/([^/]+)/(?:versions/[^/]+/)?([a-z-]+)(?:/|\Z)")
ROUTE = frozenset({"promote", "rollback", "split", "fallback"})
VERSION = {"versions": "register", "deploy": "deploy", "undeploy": "undeploy"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something refused: who, what, and why not."""

    actor: Actor
    action: str
    model: str | None
    refusal: Refusal


class Witness:
    """Around the gate, which names the principal in the request's state before it judges."""

    def __init__(self, app: ASGIApp, plane: Plane) -> None:
        self._app = app
        self._plane = plane
        self._budget = Budget()
        self._writer: Refusals | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on; a refusal leaves once it is written."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        held: list[Message] = []

        async def seen(message: Message) -> None:
            if message["type"] == "http.response.start" and self._matters(scope, message["status"]):
                held.append(message)
            elif held:
                held.append(message)
                if not message.get("more_body", False):
                    await self._after(scope, held)
                    for each in held:
                        await send(each)
                    held.clear()
            else:
                await send(message)

        await self._app(scope, receive, seen)

    async def follow(self) -> None:
        """Writes down, until cancelled, what was only counted, and keeps the heads that others signed."""
        while True:
            try:
                await keep_heads(self._plane.registry)
            except (RedisError, OSError, ValueError) as error:
                log.warning("audit_heads_unread", error=str(error))
            await asyncio.sleep(FOLLOW_S)
            for attempt, more in self._budget.due(time.monotonic()):
                if isinstance(attempt, Attempt):
                    await self._write(with_(attempt, refusal=with_(attempt.refusal, more=more)))

    def _matters(self, scope: Scope, status: int) -> bool:
        if scope["method"] in READS:
            return status == 403
        return status < 500

    async def _after(self, scope: Scope, held: list[Message]) -> None:
        status = held[0]["status"]
        principal = scope.get("state", {}).get(PRINCIPAL)
        if status < 400:
            notary = self._plane.registry.notary
            if notary is not None:
                await notary.synced()
        elif isinstance(principal, Principal):
            attempt = _attempt(scope, principal, b"".join(message.get("body", b"") for message in held[1:]))
            if attempt is not None:
                await self._noted(attempt)

    async def _noted(self, attempt: Attempt) -> None:
        caller = (attempt.actor.name, attempt.actor.auth)
        more = self._budget.admit(caller, attempt, time.monotonic())
        if more is not None:
            await self._write(with_(attempt, refusal=with_(attempt.refusal, more=more)))

    async def _write(self, attempt: Attempt) -> None:
        try:
            async with asyncio.timeout(WRITE_S):
                chain = await self._chain(attempt)
                written = await self._refusals().write(chain, attempt.actor, attempt.action, attempt.refusal)
        except (TimeoutError, RedisError, OSError) as error:
            written, why = False, str(error) or "Redis does not answer"
        else:
            why = "too many changes at once"
        if not written:
            # Nobody is let in by this: the refusal stands, only its entry is missing.
            log.error("audit_refusal_lost", actor=attempt.actor.name, action=attempt.action, error=why)

    async def _chain(self, attempt: Attempt) -> str:
        """Names that are no model's make no chains."""
        if attempt.action.startswith("key."):
            return KEYRING
        if attempt.model is not None and await self._plane.registry.exists(attempt.model):
            return attempt.model
        return INSTALLATION

    def _refusals(self) -> Refusals:
        if self._writer is None:
            self._writer = Refusals(self._plane.registry)
        return self._writer


def _attempt(scope: Scope, principal: Principal, body: bytes) -> Attempt | None:
    """What was refused; None where nothing was attempted."""
    try:
        told = orjson.loads(body)
        code, error = str(told["code"]), str(told["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        code, error = "http_error", ""
    if code in NO_ATTEMPT:
        return None
    path = scope["path"].encode("utf-8", "replace").decode()
    action, model = named(scope["method"], path)
    return Attempt(
        Actor(name=principal.name, auth=principal.auth),
        action,
        model,
        Refusal(veiled_text(path)[:PATH_CHARS], code, veiled_text(without_places(error))[:ERROR_CHARS]),
    )


def named(method: str, path: str) -> tuple[str, str | None]:
    """The action that a request is an attempt at, and the model it is about; any path gives one."""
    rest = path.removeprefix(API)
    first, _, tail = rest.partition("/")
    match = OF_MODEL.match(rest)
    model = tail.partition("/")[0] if first == "models" and tail else None
    if model is not None and NAME.match(model) is None:
        model = None
    if method in READS:
        return f"read.{_word(first)}", model
    last = match[2] if match else ""
    if last in ROUTE:
        return f"route.{last}", model
    if last in VERSION:
        return f"version.{VERSION[last]}", model
    if match:
        return f"model.{last}", model
    verb = _word(tail.rpartition("/")[2]) if tail and method != "DELETE" else ""
    if first == "keys":
        return f"key.{verb or 'create'}", None
    if first == "routers":
        return "router.forget", None
    return f"{_word(first)}.{verb or 'begin'}", None


def _word(text: str) -> str:
    """A path's part as a word of an action."""
    return text if re.fullmatch(r"[a-z][a-z-]{0,30}", text) else "other"
