"""Which headers may travel on: hop-by-hop and internal ones end here, in both directions; pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from router.access.credential import API_KEY, AUTHORIZATION, is_ours
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
# Where a caller proves who it is.
PROOFS = frozenset((AUTHORIZATION, API_KEY))
# uvicorn writes its own.
SERVER = frozenset((b"date", b"server"))
_NOT_TO_REPLICA = HOP | OURS | FORWARDED
_NOT_TO_CALLER = HOP | OURS | SERVER


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


def allowed(headers: Headers, dropped: frozenset[bytes]) -> Headers:
    """A new list without those that are `dropped` or named away; `dropped` holds `connection`."""
    kept = [header for header in headers if header[0] not in dropped]
    if len(kept) != len(headers):
        named = named_by_connection(headers)
        if named:
            kept = [header for header in kept if header[0] not in named]
    return kept


def forwarded(prefix: str, client: str | None, scheme: str) -> tuple[tuple[bytes, bytes], ...]:
    """How the gateway was asked."""
    found = ((b"x-forwarded-prefix", prefix.encode()), (b"x-forwarded-proto", scheme.encode()))
    return found if client is None else (*found, (b"x-forwarded-for", client.encode()))


@lru_cache(1024)
def forwarded_lines(prefix: str, client: str | None, scheme: str) -> bytes:
    """The same as lines."""
    return header_lines(forwarded(prefix, client, scheme))


def to_replica(headers: Headers, spent: bytes | None = None) -> Headers:
    """What of a caller's headers travels on to a replica. Raises UnsupportedMediaType for pickles.

    A key of ours never does, nor what else let the caller in, which stood in the header `spent`.
    """
    for name, value in headers:
        if name == b"content-type" and b"pickle" in value.lower():
            raise UnsupportedMediaType("pickled bodies are not accepted", field="content-type")
    kept = allowed(headers, _NOT_TO_REPLICA)
    return [each for each in kept if each[0] not in PROOFS or not (each[0] == spent or is_ours(each[1]))]


def replica_start(method: bytes, target: bytes, headers: Headers, spent: bytes | None = None) -> bytes:
    """The beginning of a head as a replica gets it; `spent` and errors are those of `to_replica`."""
    kept = to_replica(headers, spent)
    if all(name != b"host" for name, _ in kept):
        kept.append((b"host", b"replica"))
    return b"%b %b HTTP/1.1\r\n%b" % (method, target, header_lines(kept))


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand in a head."""
    parts: list[bytes] = []
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    return b"".join(parts)


def to_caller(headers: Headers, *, prefix: str, host: bytes = b"") -> Headers:
    """A replica's answer headers as the caller gets them; redirects within the replica stay within the model.

    `host` is the caller's Host header, by which a replica's absolute redirect to itself is known.
    """
    kept = allowed(headers, _NOT_TO_CALLER)
    for position, (name, value) in enumerate(kept):
        if name == b"location":
            kept[position] = name, moved(value, prefix.encode(), host)
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
