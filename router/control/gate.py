"""Lets a request in by its key or token, as far as its roles go: a pure ASGI layer around everything.

It looks at the scope's path, the one that is routed: a Host header can make `request.url.path` another.
"""

from __future__ import annotations

import time
from hashlib import sha256

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from router.access import credential
from router.access.admission import Admission, Rules
from router.access.credential import Credential
from router.access.principal import Principal
from router.control.answer import refusal
from router.control.away import answering
from router.control.permits import OPEN, Permits
from router.control.plane import PRINCIPAL, Plane
from router.errors import Denied, Forbidden, PointsmanError, Unavailable

log = structlog.get_logger(__name__)

LOOK_S = 1.0  # longest wait for Redis to tell of a key


class Gate:
    """Answers 401 to all that carries no key that counts, also where there is nothing; 403 to roles that lack it.

    `key` is the one of the data directory, which needs no Redis. Any other is looked up there at each request;
    while Redis is away it counts as it was last seen here.
    """

    def __init__(self, app: ASGIApp, key: str, plane: Plane, permits: Permits) -> None:
        self._app = app
        self._plane = plane
        self._permits = permits
        self._own = Admission.of(Rules(admin=sha256(key.encode()).digest()))
        self._seen: Admission | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers itself."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and scope["path"] not in OPEN:
            try:
                principal = await self._principal(credential.find(scope["headers"]))
                scope.setdefault("state", {})[PRINCIPAL] = (
                    principal  # also of one who is refused: the audit asks
                )
                self._allow(principal, scope)
            except PointsmanError as error:
                await refusal(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _principal(self, given: Credential | None) -> Principal:
        now = time.time()
        try:
            return self._own.principal(given, now)
        except Denied:
            if given is None or not (given.id or given.token):
                raise
        return (await self._admission(given)).principal(given, now)

    async def _admission(self, given: Credential) -> Admission:
        """What is known of the key by now."""
        key = None
        if given.id:
            try:
                async with answering(LOOK_S):
                    key = await self._plane.registry.caller_key(given.id)
            except Unavailable:
                if self._seen is None or given.id not in self._seen.keys:
                    raise
        seen = self._seen or Admission.of(self._plane.issuer.rules())  # others may have looked meanwhile
        if key is not None and seen.keys.get(key.id) != key:
            seen = seen.with_keys([key])
        self._seen = seen
        return seen

    def _allow(self, principal: Principal, scope: Scope) -> None:
        try:
            self._permits.require(principal, scope["method"], scope["path"])
        except Forbidden as error:
            log.warning("access_refused", principal=principal.name, auth=principal.auth, error=error.message)
            raise
