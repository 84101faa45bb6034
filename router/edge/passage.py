"""What is known of one request so far: enough for its headers and its record, wherever it stops."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from router.access.principal import Principal
from router.edge.inbound import Inbound
from router.route.table import Choice
from router.upstream.work import Attempt, Item

STALE = (b"x-route-stale", b"1")


@dataclass(slots=True)
class Passage:
    """Filled on the way; times are readings of `time.monotonic`."""

    inbound: Inbound
    protocol: str
    started: float = field(default_factory=monotonic)
    model: str = ""
    known: bool = False  # the model exists: only then its name may label a metric
    choice: Choice | None = None
    key: str | None = None
    stale: bool = False
    item: Item | None = None
    batch_rows: int = 0
    replica: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    upstream_ms: float | None = None
    principal: Principal | None = None  # who asks, where that has to be proven

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The answer headers that say who answered and why."""
        headers = [(b"x-request-id", self.inbound.request_id.encode())]
        if self.choice is not None:
            headers += self.choice.headers
        if self.stale:
            headers.append(STALE)
        return headers

    def lines(self) -> bytes:
        """The same as they stand in an HTTP head."""
        lines = b"x-request-id: %b\r\n" % self.inbound.request_id.encode()
        if self.choice is not None:
            lines += self.choice.lines
        return lines if not self.stale else lines + b"%b: %b\r\n" % STALE
