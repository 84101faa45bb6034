"""Writes refused attempts into the audit; no answer to a change leaves before its signed head is on the disk.

A pure ASGI layer around all that refuses. It judges nothing itself.
"""

from __future__ import annotations

import asyncio
import re

import orjson
import structlog
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.access.principal import Principal
from router.control.plane import PRINCIPAL, Plane
from router.names import NAME
from router.registry.audit import Actor
from router.registry.heads import keep_heads
from router.registry.mentions import Attempt, Mentions, attempt

FOLLOW_S = 30.0  # how often counted refusals are written down, and heads that others signed are kept here too
READS = frozenset({"GET", "HEAD", "OPTIONS"})
API = "/api/v1/"
OF_MODEL = re.compile(r"models/([^/]+)/(?:versions/[^/]+/)?([a-z-]+)(?:/|\Z)")
ROUTE = frozenset({"promote", "rollback", "split", "fallback"})
VERSION = {"versions": "register", "deploy": "deploy", "undeploy": "undeploy"}

log = structlog.get_logger(__name__)


class Witness:
    """Around the gate, which names the principal in the request's state before it judges."""

    def __init__(self, app: ASGIApp, plane: Plane) -> None:
        self._app = app
        self._plane = plane
        self._known: Mentions | None = None

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
            await self._mentions().write_due()

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
            body = b"".join(message.get("body", b"") for message in held[1:])
            await self._mentions().note(_attempt(scope, principal, body))

    def _mentions(self) -> Mentions:
        if self._known is None:
            self._known = Mentions(self._plane.registry)
        return self._known


def _attempt(scope: Scope, principal: Principal, body: bytes) -> Attempt | None:
    """What was refused; None where nothing was attempted."""
    try:
        told = orjson.loads(body)
        error = str(told["code"]), str(told["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        error = "http_error", ""
    actor = Actor(name=principal.name, auth=principal.auth)
    return attempt(actor, *named(scope["method"], scope["path"]), scope["path"], error)


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
