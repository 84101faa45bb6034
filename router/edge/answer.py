"""What goes back to a caller: status, headers and body as values; how they become ASGI messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from router.errors import PointsmanError, Unauthorized

JSON = b"application/json"


@dataclass(slots=True)
class Answer:
    """A whole answer; `headers` are those beside the content type, which is `kind`, and length."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    kind: bytes = JSON

    async def send(self, send: Any) -> None:
        """Writes it as two ASGI messages."""
        headers = [(b"content-type", self.kind), (b"content-length", b"%d" % len(self.body)), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def failure(error: PointsmanError) -> Answer:
    """The outward form of an error."""
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b'Bearer realm="pointsman"'))
    return Answer(error.status, orjson.dumps(error.body()), headers)
