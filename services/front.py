"""The replica's ASGI front: answers the lean lane under /_pm/ itself, hands all else to BentoML's app.

The lane goes round BentoML's middlewares (half of a request's CPU) with the very same session object.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from services.asgi import AsgiApp, Receive, Scope, Send
from services.frame import FrameError, Request, decode_request, encode_answer
from services.pace import Pace
from services.session import InputError, ModelError, Session

INLINE_US: Final = 5000
MAX_BODY: Final = 256 << 20
MAX_WAITING: Final = 64

_FRAME: Final = b"application/x-pointsman-frame"
_JSON: Final = b"application/json"


class _Failure(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, code: str, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"error": text, "code": code} | ({} if field is None else {"field": field})


class Front:
    """ASGI app in front of `app`, running `session`.

    Calls expected to take under 5 ms run inline (a thread hop costs more than most models); longer ones in
    the one worker thread, at most 64 waiting. `clock` gives monotonic seconds.
    """

    def __init__(
        self, app: AsgiApp, session: Session, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._session = session
        self._clock = clock
        self._pace = Pace()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting = 0
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/_pm/"):
            await self._app(scope, receive, send)
            return
        try:
            kind, body = await self._answer(scope, receive)
            status = 200
        except _Failure as failure:
            status, kind, body = failure.status, _JSON, msgspec.json.encode(failure.body)
        except _Gone:
            return
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        # After a 413 unread bytes are under way; while draining no next request may come on this connection.
        if self.draining or status == 413:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        asked = (scope["method"], scope["path"])
        if asked == ("POST", "/_pm/infer"):
            arrived = self._clock()
            return _FRAME, await self._infer(await _body(receive), arrived)
        if asked == ("GET", "/_pm/stats"):
            return _JSON, msgspec.json.encode(self._session.stats)
        if scope["path"] in ("/_pm/infer", "/_pm/stats"):
            raise _Failure(405, "method_not_allowed", f"{scope['method']} is not allowed here")
        raise _Failure(404, "not_found", "there is nothing here")

    async def _infer(self, body: bytes, arrived: float) -> bytes:
        try:
            request = decode_request(body)
            rows = self._session.check(request.tensors)
        except FrameError as error:
            raise _Failure(400, "bad_frame", str(error), error.field) from None
        except InputError as error:
            raise _Failure(400, "bad_input", str(error), error.field) from None
        deadline = arrived + request.deadline_ms / 1000
        expected = self._pace.expected(rows)
        if expected is not None and expected < INLINE_US:
            return self._run(request, rows, deadline)
        if self._waiting >= MAX_WAITING:
            raise _Failure(503, "overloaded", "too many calls wait for this replica")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._run, request, rows, deadline)
        finally:
            self._waiting -= 1

    def _run(self, request: Request, rows: int, deadline: float) -> bytes:
        if self._clock() >= deadline:
            raise _Failure(504, "deadline_exceeded", "the deadline passed before the model ran")
        try:
            found, taken = self._session.run(request.tensors, request.outputs)
        except InputError as error:
            raise _Failure(400, "bad_input", str(error), error.field) from None
        except ModelError as error:
            raise _Failure(500, "model_error", str(error)) from None
        self._pace.record(rows, taken)
        return encode_answer(found, taken)


class _Gone(Exception):
    """The caller hung up before its request was complete."""


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise _Failure(413, "too_large", f"a frame may have {MAX_BODY} bytes")
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
