"""The lean lane without ASGI: reads the one head our routers send by hand; uvicorn reads all others.

A connection that once says anything else, or does not bring that head in one piece, is uvicorn's for good.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from services import lane as limits
from services.front import FRAME, JSON, Front
from services.lane import Reply

HEAD: Final = b"POST /_pm/infer HTTP/1.1\r\nhost: replica\r\ncontent-length: "
_SIZE: Final = len(HEAD)
_END: Final = b"\r\n\r\n"
_LONGEST: Final = _SIZE + len(b"999999999") + len(_END)
_OK: Final = STATUS_LINE[200] + b"content-type: " + FRAME + b"\r\ncontent-length: %d\r\n\r\n%b"
_OTHER: Final = b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
_CLOSE: Final = b"connection: close\r\n"


class LaneProtocol(HttpToolsProtocol):
    """One connection. `config.app` must be a Front; its lane answers in the order of the requests.

    One request is under way at a time; what arrives meanwhile (256 KiB at most) waits, and reading stops.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        front = config.app
        if not isinstance(front, Front):
            raise TypeError("the lane's protocol serves a Front")
        self._lane = front.lane
        self._ordinary = False  # uvicorn has this connection
        self._parts: list[bytes] = []  # of the body under way
        self._missing = 0  # bytes of it that have not come yet
        self._arrived = 0.0  # the latest request's head
        self._job: asyncio.Future[Reply] | None = None
        self._rest = b""  # what came after the request under way

    # asyncio's side

    def data_received(self, data: bytes) -> None:
        if self._ordinary:
            super().data_received(data)
        elif self._missing:
            self._collect(data)
        elif self._job is not None or self._rest or self.flow.write_paused:
            self._rest += data
            self.flow.pause_reading()
        else:
            self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._parts, self._missing, self._rest = [], 0, b""
        if self._job is not None:
            self._job.cancel()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._ordinary:
            self.loop.call_soon(self._next)

    # uvicorn's side

    def shutdown(self) -> None:
        if self._ordinary:
            super().shutdown()
        elif self._job is None and not self._missing and not self._rest:
            self.transport.close()
        # else the answer under way is the last: the lane is draining.

    def timeout_keep_alive_handler(self) -> None:
        """Runs once an idle time, not once a request: a later request than it knew of gives it a new end."""
        left = 0.0
        if not self._ordinary:
            busy = self._job is not None or self._missing
            left = self.timeout_keep_alive - (0.0 if busy else self._lane.clock() - self._arrived)
        if left > 0:
            self._rest_until(left)
        else:
            super().timeout_keep_alive_handler()

    # the lane

    def _take(self, data: bytes) -> None:
        """Begins the request at the start of `data`."""
        end = data.find(_END, _SIZE, _LONGEST)
        if end < 0 or not data.startswith(HEAD):
            self._hand_over(data)
            return
        digits = data[_SIZE:end]
        # bytes.isdigit knows ASCII digits only, and no sign, blank or underscore as int() does.
        if not digits.isdigit() or int(digits) > limits.MAX_BODY:
            self._hand_over(data)
            return
        self._arrived = self._lane.clock()
        start = end + 4
        missing = start + int(digits) - len(data)
        if missing == 0:
            self._run(data[start:])
        elif missing < 0:
            self._rest = data[missing:]
            self._run(data[start:missing])
        else:
            self._missing = missing
            self._parts = [data[start:]]

    def _hand_over(self, data: bytes) -> None:
        self._ordinary = True
        super().data_received(data)

    def _collect(self, data: bytes) -> None:
        if len(data) > self._missing:
            self._rest = data[self._missing :]
            data = data[: self._missing]
        self._parts.append(data)
        self._missing -= len(data)
        if not self._missing:
            body = b"".join(self._parts)
            self._parts = []
            self._run(body)

    def _run(self, body: bytes) -> None:
        reply = self._lane.infer(body, self._arrived)
        if isinstance(reply, Reply):
            self._answer(reply)
        else:
            self._job = reply
            reply.add_done_callback(self._done)

    def _done(self, job: asyncio.Future[Reply]) -> None:
        self._job = None
        if not job.cancelled():
            self._answer(job.result())

    def _answer(self, reply: Reply) -> None:
        if self.transport.is_closing():
            return
        status, body = reply
        if status == 200 and not self._lane.draining:
            self.transport.write(_OK % (len(body), body))
        else:
            kind = FRAME if status == 200 else JSON
            last = _CLOSE if self._lane.draining else b""
            self.transport.write(_OTHER % (STATUS_LINE[status], kind, len(body), last, body))
            if last:
                self.transport.close()
                return
        if self.timeout_keep_alive_task is None:
            self._rest_until(self.timeout_keep_alive)
        if self._rest or self.flow.read_paused:
            # Not at once: a caller who sends many requests in one piece must not hold up all others.
            self.loop.call_soon(self._next)

    def _next(self) -> None:
        """Goes on with what has come meanwhile; whoever holds it up calls again."""
        if self._ordinary or self._job is not None or self.flow.write_paused or self.transport.is_closing():
            return
        rest, self._rest = self._rest, b""
        self.flow.resume_reading()
        if rest:
            self._take(rest)

    def _rest_until(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
