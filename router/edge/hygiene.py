"""Which headers may travel on: hop-by-hop and internal ones end here, in both directions; pure."""

from __future__ import annotations

from collections.abc import Iterable

from router.errors import PointsmanError

Headers = list[tuple[bytes, bytes]]

HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    )
)
# Set by the gateway alone: a caller's or a replica's own value would be a forgery.
OURS = frozenset((b"x-request-id", b"x-model-version", b"x-route-epoch", b"x-route-reason", b"x-route-stale"))
FORWARDED = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-real-ip",
    )
)
# A Connection header may not name these away: without its length a body would be the next request.
FRAMING = frozenset((b"content-length", b"host"))
# uvicorn writes its own.
SERVER = frozenset((b"date", b"server"))


class UnsupportedMediaType(PointsmanError):
    """A body that must never reach a replica: pickles run code."""

    status = 415
    code = "unsupported_media_type"


def named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """The headers that a Connection header makes hop-by-hop; never those that frame the message."""
    found: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            found.update(token.strip().lower() for token in value.split(b","))
    return found - FRAMING


def to_replica(headers: Headers, *, prefix: str, client: str | None, scheme: str) -> Headers:
    """A caller's headers as a replica gets them. Raises UnsupportedMediaType for pickles."""
    for name, value in headers:
        if name == b"content-type" and b"pickle" in value.lower():
            raise UnsupportedMediaType("pickled bodies are not accepted", field="content-type")
    dropped = HOP | OURS | FORWARDED | named_by_connection(headers)
    kept = [(name, value) for name, value in headers if name not in dropped]
    kept.append((b"x-forwarded-prefix", prefix.encode()))
    kept.append((b"x-forwarded-proto", scheme.encode()))
    if client is not None:
        kept.append((b"x-forwarded-for", client.encode()))
    return kept


def to_caller(headers: Headers, *, prefix: str, host: bytes = b"") -> Headers:
    """A replica's answer headers as the caller gets them; redirects within the replica stay within the model.

    `host` is the caller's Host header, by which a replica's absolute redirect to itself is known.
    """
    dropped = HOP | OURS | SERVER | named_by_connection(headers)
    kept: Headers = []
    for name, value in headers:
        if name in dropped:
            continue
        kept.append((name, moved(value, prefix.encode(), host) if name == b"location" else value))
    return kept


def moved(location: bytes, prefix: bytes, host: bytes) -> bytes:
    """Where a redirect leads as the caller sees it: below the model, if it leads to the replica itself."""
    origin = b""
    for scheme in (b"http://", b"https://"):
        if host and location.startswith(scheme + host + b"/"):
            origin = scheme + host
    path = location[len(origin) :]
    if not path.startswith(b"/") or path.startswith((b"//", prefix + b"/")):
        return location
    return origin + prefix + path
