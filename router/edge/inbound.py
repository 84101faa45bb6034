"""What a caller sent: the few headers the gateway reads, and the body within its limit and deadline."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from router.access import credential
from router.access.credential import API_KEY, AUTHORIZATION, Credential
from router.errors import BadInput, ReceiveTimeout, TooLarge
from router.names import is_request_id

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_prefix = os.urandom(6).hex()
_numbers = itertools.count(1)


class Disconnected(Exception):
    """The caller left before the request was whole: nobody is there to answer."""


def new_request_id() -> str:
    """An id unique among all routers: random for the process, counted within it."""
    return f"{_prefix}{next(_numbers):08x}"


@dataclass(slots=True)
class Inbound:
    """The headers of one request; a repeated header counts with its first value."""

    headers: dict[bytes, bytes]
    request_id: str
    credential: Credential | None = None

    @classmethod
    def of(cls, scope: Scope) -> Inbound:
        """Reads the scope; an `x-request-id` that is not allowed is replaced."""
        return cls.of_headers(scope["headers"])

    @classmethod
    def of_headers(cls, found: list[tuple[bytes, bytes]]) -> Inbound:
        """The same from the headers alone."""
        headers: dict[bytes, bytes] = {}
        for name, value in found:
            headers.setdefault(name, value)
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        proven = AUTHORIZATION in headers or API_KEY in headers
        return cls(
            headers,
            given if is_request_id(given) else new_request_id(),
            credential.find(found) if proven else None,
        )

    def text(self, name: bytes) -> str | None:
        """One header as text."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def timeout_ms(self, longest: int) -> int:
        """The caller's `x-request-timeout-ms`, at most the server's own; raises BadInput for nonsense."""
        given = self.headers.get(b"x-request-timeout-ms")
        if given is None:
            return longest
        if not given.isdigit() or int(given[:12]) == 0:
            raise BadInput(
                "x-request-timeout-ms must be a whole number of milliseconds above 0",
                code="bad_header",
                field="x-request-timeout-ms",
            )
        return min(int(given[:12]), longest)


async def read_body(inbound: Inbound, receive: Receive, limit: int, deadline: float) -> bytes:
    """The whole body. `deadline` is a reading of `time.monotonic` that more bytes do not move.

    Raises TooLarge over `limit` bytes (by the announced length at once), ReceiveTimeout when it came too
    slowly, Disconnected when the caller left.
    """
    announced = inbound.headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise TooLarge(f"the body has {int(announced)} bytes, the limit is {limit}", code="body_too_large")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(deadline - monotonic()):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    raise TooLarge(f"the body is over the limit of {limit} bytes", code="body_too_large")
                parts.append(part)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError as error:
        raise ReceiveTimeout("the body did not arrive in time") from error
