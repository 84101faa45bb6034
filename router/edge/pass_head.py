"""Heads of small pass-through requests: what is in them and what of it travels on, read once for all; pure."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass

from router.access.credential import Credential
from router.edge.hygiene import Headers, replica_start
from router.edge.inbound import Inbound, new_request_id
from router.edge.paths import Route, passed
from router.edge.tasks import is_task_path
from router.errors import PointsmanError


@dataclass(frozen=True, slots=True, eq=False)
class PassHead:
    """An ordinary head whose body is small and announced, or absent; what it holds belongs to all who share it.

    `start` is the replica's head as far as it depends on nothing else; `given` are all headers, `headers` the
    first of each name.
    """

    method: bytes
    url: bytes
    route: Route
    start: bytes
    given: Headers
    headers: dict[bytes, bytes]
    request_id: str | None
    length: int
    keep_alive: bool
    credential: Credential | None = None

    def inbound(self) -> Inbound:
        """What one request with this head sent."""
        return Inbound(self.headers, self.request_id or new_request_id(), self.credential)


def small_pass(
    method: bytes, url: bytes, given: Headers, keep_alive: bool, largest: int, required: bool = False
) -> PassHead | None:
    """The head of a request that needs nothing unusual; None: ASGI takes it, and says what is wrong with it.

    `required`: callers need a key here, and what proves it does not travel on.
    """
    if not url.startswith(b"/models/") or method == b"HEAD" or b"#" in url or not url.isascii():
        return None
    inbound = Inbound.of_headers(given)
    headers = inbound.headers
    length = headers.get(b"content-length", b"0")
    if b"transfer-encoding" in headers or b"expect" in headers:
        return None
    if not length.isdigit() or int(length) > largest:
        return None
    path, _, query = url.partition(b"?")
    try:
        inbound.timeout_ms(1)
        route = passed(urllib.parse.unquote(path.decode("ascii")), path)
        target = b"%b?%b" % (route.raw_path, query) if query else route.raw_path
        spent = inbound.credential.header if required and inbound.credential is not None else None
        start = replica_start(method, target, given, spent)
    except PointsmanError:
        return None
    if is_task_path(route.path):
        return None
    request_id = inbound.request_id if b"x-request-id" in headers else None
    credential = inbound.credential
    return PassHead(
        method, url, route, start, given, headers, request_id, int(length), keep_alive, credential
    )
