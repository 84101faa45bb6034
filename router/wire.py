"""The HTTP/1.1 connection of both listeners: uvicorn's, with absolute deadlines, a bounded head and no smuggling.

What uvicorn leaves open and is closed here: a head may be endless and may drip for ever, and so may a body that
nobody wants, and an answer that nobody reads; the body of a request that offers an upgrade is read as the next
request; any number of callers may come; refusals of its own are plain text.
"""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.connections import Connections
from router.strict import fault

HEAD_BYTES = 64 << 10
HEAD_SECONDS = 15.0
SEND_SECONDS = 60.0


class StrictProtocol(HttpToolsProtocol):
    """One connection; `head_seconds` is how long a request's head may take, from its first byte or the connect.

    As long may the rest of a body take whose request is answered already. `send_seconds` is how long a caller
    may leave what is written for it unread.
    """

    head_bytes = HEAD_BYTES
    head_seconds = HEAD_SECONDS
    send_seconds = SEND_SECONDS
    places: Connections | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._begun = False
        self._messages = self._head_size = self._fields = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._rests_since = 0.0
        self._caller: str | None = None  # where it is counted

    @property
    def resting(self) -> bool:
        """Whether the connection is between two requests: nothing of a next one is here, and no answer is due."""
        cycle = self.cycle
        return not self._begun and (cycle is None or cycle.response_complete) and not self.pipeline

    # -- asyncio's side ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection needs a place, and must bring a head in time."""
        super().connection_made(transport)
        if self.places is not None:
            caller = self.client[0] if self.client else ""
            limit = self.places.admit(caller)
            if limit is not None:
                self._no_place(limit)
                return
            self._caller = caller
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is timed any more, and its place is free."""
        self._unwatch_head()
        self._unwatch_body()
        self._unwatch_send()
        self._unset_keepalive_if_required()
        self.give_place_up()
        super().connection_lost(exc)

    def give_place_up(self) -> None:
        """Another may come in its stead."""
        if self.places is not None and self._caller is not None:
            self.places.leave(self._caller)
            self._caller = None

    def pause_writing(self) -> None:
        """More is written than the caller takes: it has its time to read."""
        super().pause_writing()
        self._watch_send()

    def resume_writing(self) -> None:
        """The caller reads."""
        super().resume_writing()
        self._unwatch_send()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; an offered upgrade that nobody takes is ignored, as RFC 9110 allows."""
        if self.parser is None or self.transport.is_closing():
            return  # refused: what comes yet is not read
        before = self._messages
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self.takes_upgrade():
                self._unwatch_head()
                self._unwatch_send()
                self.upgraded(rest)
            else:
                self._ignore_upgrade(rest)
            return
        except httptools.HttpParserError:
            if self.parser is not None and not self.transport.is_closing():
                self.refuse(400, "bad_http", "the request is not valid HTTP/1.1")
            return
        if not (self._in_head and self._begun):
            if self._messages:  # in a body, or between two requests: other limits hold there
                self._unwatch_head()
            return
        if self._messages == before:  # else part of these bytes belongs to what came before
            self._head_size += len(data)
        if self._head_size > self.head_bytes:
            self._too_large()
        elif self._head_timer is None:
            self._watch_head()

    # -- httptools' side -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = self._begun = True
        self._messages += 1
        self._head_size = self._fields = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer: trailers are counted and dropped."""
        self._fields += len(name) + len(value) + 4
        if self._fields > self.head_bytes:
            self._too_large()
            raise ValueError("the head is too large")
        if self._in_head:
            super().on_header(name, value.rstrip(b" \t"))

    def check_head(self) -> None:
        """Refuses a head that is in doubt, and raises ValueError, which ends the parsing."""
        wrong = fault(self.parser.get_http_version(), self.parser.get_method(), self.headers)
        if wrong is not None:
            self.refuse(400, "bad_http", wrong)
            raise ValueError(wrong)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.check_head()
        if not self.parser.should_upgrade():
            self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole: the next byte begins another."""
        super().on_message_complete()
        if not self.parser.should_upgrade():
            self.between_requests()

    def between_requests(self) -> None:
        """A request is whole and no other has begun."""
        self._in_head, self._begun, self._head_size = True, False, 0
        if self._body_timer is not None:
            self._unwatch_body()

    # -- rest ----------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """An answer is out: the next request that waits begins, or the connection rests."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._watch_send()
            return
        self.flow.resume_reading()
        if self._begun and not self._in_head and self._body_timer is None:
            self._body_timer = self.loop.call_later(self.head_seconds, self.transport.close)
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        # One timer a connection, not one an answer: it looks when it fires.
        self._rests_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._watch_rest(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that rested for the whole time; the next answer watches one that did not rest."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing() or not self.resting:
            return
        left = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left > 0.001:
            self._watch_rest(left)
        elif self.transport.get_write_buffer_size():
            self.transport.abort()  # it does not read: closing would wait for it
        else:
            self.transport.close()

    def _watch_rest(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    # -- upgrades ------------------------------------------------------------------------------------------

    def takes_upgrade(self) -> bool:
        """Whether this listener takes the upgrade that the request offers."""
        return False

    def upgraded(self, rest: bytes) -> None:
        """Takes over a connection whose upgrade is taken; `rest` are bytes behind the head."""
        raise NotImplementedError

    def _should_upgrade(self) -> bool:
        # To uvicorn every offer is one that is handled elsewhere: it then starts nothing for it.
        return True

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parses the same request again without its offer, so that its body is read as a body."""
        kept = []
        for name, value in self.headers:
            if name == b"upgrade":
                continue
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(t for t in tokens if t.lower() not in (b"upgrade", b"http2-settings"))
                if not value:
                    continue
            kept.append((name, value))
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b\r\n" % header for header in kept]
        self.parser = httptools.HttpRequestParser(self)
        self._head_size = 0
        self.data_received(b"".join([*lines, b"\r\n", rest]))

    # -- refusals ------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """uvicorn's own refusals, in our form."""
        self.refuse(400, "bad_http", msg)

    def refuse(self, status: int, code: str, text: str) -> None:
        """Answers what is no proper request, and closes. Where other answers are due first, it only closes."""
        self._unwatch_head()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._in_head or self.pipeline or cycle.response_started:
                self.transport.abort()
                return
            cycle.disconnected = True  # it was this request's body: nobody waits for its answer now
            cycle.message_event.set()
        body = orjson.dumps({"error": text, "code": code})
        again = "retry-after: 1\r\n" if status in (429, 503) else ""
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n{again}"
            f"content-length: {len(body)}\r\nx-request-id: {os.urandom(10).hex()}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self._watch_send()

    def _no_place(self, limit: str) -> None:
        status, whose = (503, "") if limit == "all" else (429, " of this address")
        self.refuse(status, "too_many_connections", f"no more connections{whose} are taken now")

    def _too_large(self) -> None:
        if not self.transport.is_closing():
            self.refuse(431, "head_too_large", f"the request's head is over {self.head_bytes} bytes")

    def _late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.refuse(408, "head_timeout", f"the request's head did not arrive in {self.head_seconds:g} s")

    def _watch_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._late)

    def _unwatch_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _unwatch_body(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _watch_send(self) -> None:
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.send_seconds, self.transport.abort)

    def _unwatch_send(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None
