"""The record of one request, built once at its end; the field names are contracts.md's; pure."""

from __future__ import annotations

from hashlib import blake2b

import orjson

from router.edge.codec import Excerpt
from router.edge.passage import Passage
from router.veil import veiled

NOTHING = Excerpt(None)
_DEEP = 200
"""Brackets of a body that may be nested deeper than orjson writes: then nobody could be told of its record."""


def key_hash(key: str) -> str:
    """A sticky key as it stands in the log: 16 hex digits of its blake2b."""
    return blake2b(key.encode(), digest_size=8).hexdigest()


def excerpt(body: bytes, limit: int, *, read: bool = False) -> Excerpt:
    """A body of JSON: the value itself where it is whole, else the beginning of it as text; never raises.

    `read`: the body was parsed already, so it is JSON.
    """
    if not body:
        return NOTHING
    if len(body) > limit:
        return Excerpt(body[:limit].decode("utf-8", "replace"), truncated=True)
    # A fragment is copied as it stands, so it must not break the journal's line.
    broken = b"\n" in body or b"\r" in body
    if read and not broken:
        return Excerpt(orjson.Fragment(body))
    try:
        value = orjson.loads(body)
        if body.count(b"[") + body.count(b"{") > _DEEP:
            orjson.dumps([[[[[[[[value]]]]]]]])  # more than what a record, and a page of them, puts around it
    except (orjson.JSONDecodeError, TypeError):
        return Excerpt(body.decode("utf-8", "replace"))
    return Excerpt(value if broken else orjson.Fragment(body))


def known_json(body: bytes, limit: int) -> Excerpt:
    """The same for a body we wrote ourselves: it is JSON on one line."""
    if len(body) <= limit:
        return Excerpt(orjson.Fragment(body) if body else None)
    return Excerpt(body[:limit].decode("utf-8", "replace"), truncated=True)


def record(
    passage: Passage,
    router: str,
    *,
    status: int | None,
    error: str | None,
    total_ms: float | None,
    request: Excerpt,
    response: Excerpt,
) -> bytes:
    """A JSON object of all fields but `record_id` and `time`, which the journal knows.

    Raises TypeError for an excerpt that JSON does not have.
    """
    choice, item, key = passage.choice, passage.item, passage.key
    # Written piece by piece: a dictionary of so many fields costs more than all else that logging does.
    # Wherever a caller put a key: the log is read by many.
    return _LINE % (
        veiled(passage.inbound.request_id.encode()),
        _unchosen(passage.model) if choice is None else choice.record,
        router.encode(),
        _text(passage.replica if item is None else item.replica),
        b"true" if passage.stale else b"false",
        b"null" if key is None else b'"%b"' % key_hash(key).encode(),
        b"null" if passage.principal is None else passage.principal.record,
        passage.protocol.encode(),
        b"null" if status is None else b"%d" % status,
        _text(error),
        b",".join([attempt.json for attempt in (passage.attempts if item is None else item.attempts)]),
        b"%d" % item.rows if item is not None and item.rows else b"null",
        b"%d" % passage.batch_rows if passage.batch_rows else b"null",
        _ms(None if item is None else item.queue_ms),
        _ms(passage.upstream_ms if item is None else item.upstream_ms),
        _ms(total_ms),
        veiled(orjson.dumps(request.value)),
        veiled(orjson.dumps(response.value)),
        b"true" if request.truncated or response.truncated else b"false",
    )


_LINE = (
    b'{"request_id":"%b",%b,"router":"%b","replica":%b,"stale":%b,"key_hash":%b,"principal":%b,'
    b'"protocol":"%b","status":%b,"error":%b,"attempts":[%b],"rows":%b,"batch_rows":%b,"queue_ms":%b,'
    b'"upstream_ms":%b,"total_ms":%b,"payload":{"request":%b,"response":%b,"truncated":%b}}'
)


def _unchosen(model: str) -> bytes:
    return b'"model":%b,"version":null,"digest":null,"epoch":null,"reason":null' % veiled(orjson.dumps(model))


def _text(value: str | None) -> bytes:
    return b"null" if value is None else veiled(orjson.dumps(value))


def _ms(value: float | None) -> bytes:
    return b"null" if value is None else b"%.3f" % value
