"""Heads of small requests, and what the parser found in them: the same bytes mean the same; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router.access.credential import Credential
from router.edge import v1, v2
from router.edge.codec import Address, Codec
from router.edge.inbound import Inbound, new_request_id
from router.edge.offload import HEAVY
from router.edge.pass_head import PassHead
from router.errors import PointsmanError

# Prediction paths: their beginning and end, who reads bodies and who reads the path.
TENSOR_PATHS: tuple[tuple[str, str, Codec, Callable[[str], Address]], ...] = (
    ("/v1/models/", ":predict", v1.CODEC, v1.address),
    ("/v2/models/", "/infer", v2.CODEC, v2.address),
)
_BYTES = tuple((a.encode(), z.encode(), codec, where) for a, z, codec, where in TENSOR_PATHS)

KEPT = 1024  # heads a router remembers
LONGEST = 2048  # bytes of one that is worth it
# A head with one of these is never seen twice.
_UNIQUE = (b"x-request-id", b"traceparent")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """An ordinary head of a prediction whose body is small and announced; `headers` belong to all who share it."""

    codec: Codec
    address: Address
    headers: dict[bytes, bytes]
    request_id: str | None
    length: int
    keep_alive: bool
    credential: Credential | None = None

    def inbound(self) -> Inbound:
        """What one request with this head sent."""
        return Inbound(self.headers, self.request_id or new_request_id(), self.credential)


def small_prediction(url: bytes, headers: list[tuple[bytes, bytes]], keep_alive: bool) -> Head | None:
    """The head of a prediction that needs nothing unusual; None: ASGI takes it, and says what is wrong with it."""
    if b"%" in url or b"?" in url:
        return None
    reading = _reading(url)
    if reading is None:
        return None
    codec, where = reading
    inbound = Inbound.of_headers(headers)
    found = inbound.headers
    length = found.get(b"content-length", b"")
    if b"transfer-encoding" in found or b"expect" in found or b"content-encoding" in found:
        return None
    if not length.isdigit() or int(length) > HEAVY:
        return None
    try:
        inbound.timeout_ms(1)
        address = where(url.decode("latin-1"))
    except PointsmanError:
        return None
    given = inbound.request_id if b"x-request-id" in found else None
    return Head(codec, address, found, given, int(length), keep_alive, inbound.credential)


def _reading(url: bytes) -> tuple[Codec, Callable[[str], Address]] | None:
    for prefix, suffix, codec, where in _BYTES:
        if url.startswith(prefix) and url.endswith(suffix):
            return codec, where
    return None


Known = Head | PassHead


class Heads:
    """Heads by their bytes, without the empty line; forgets all of them when it is full."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self.find = self._known.get

    def learn(self, head: bytes, means: Known) -> None:
        """Keeps what the parser read in these very bytes, at the beginning of a request."""
        if any(name in means.headers for name in _UNIQUE):
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[head] = means
