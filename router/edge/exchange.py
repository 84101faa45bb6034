"""What both ways of passing a request through share: one exchange with a replica as values; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from router.edge.hygiene import Headers
from router.edge.passage import Passage
from router.edge.paths import Route
from router.errors import UpstreamFailed
from router.route.table import Target
from router.upstream.door import Door
from router.upstream.stream import Stream
from router.upstream.work import Attempt

BUFFERED = 64 << 10  # an answer that is announced to be this small has one record, not begin and end
# What may be sent again although a replica may have begun with it (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))
LEFT = 499  # as nginx writes it down: nobody was there to get an answer


@dataclass(frozen=True, slots=True)
class Begun:
    """An exchange whose request is sent whole and whose answer's head is there: what is left is a stream."""

    passage: Passage
    door: Door
    stream: Stream
    body: bytes
    headers: Headers  # as the caller gets them
    began: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that a replica broke and another may have, until then (a reading of `time.monotonic`)."""

    passage: Passage
    door: Door
    body: bytes
    error: UpstreamFailed
    until: float


@dataclass(slots=True)
class Ask:
    """What a replica is asked; `wanted`: this one and no other; `door`: who was asked last."""

    method: str
    head: bytes
    route: Route
    target: Target
    wanted: str | None
    door: Door | None = None

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent again although a replica may have begun with it."""
        return self.method.encode() in IDEMPOTENT


def is_small(stream: Stream, headers: Headers) -> bool:
    """Whether an answer is announced to be so small that it is kept until it is whole."""
    announced = dict(headers).get(b"content-length", b"")
    return stream.empty or (announced.isdigit() and int(announced) <= BUFFERED)


def attempt(passage: Passage, status: int, error: str | None, began: float) -> Attempt:
    """One exchange as it stands in the record."""
    assert passage.choice is not None
    took_ms = round((monotonic() - began) * 1e3, 3)
    return Attempt(passage.choice.version, passage.replica or "", status, error, took_ms)


def broken(passage: Passage, why: object) -> UpstreamFailed:
    """The error for an exchange that failed at the replica before the answer began."""
    assert passage.choice is not None
    text = f"version {passage.choice.version} of model {passage.model}: {why}"
    return UpstreamFailed(text, code="upstream_failed")
