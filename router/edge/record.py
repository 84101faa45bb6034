"""The record of one request, built once at its end; the field names are contracts.md's; pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

from router.edge.codec import Excerpt
from router.edge.passage import Passage


def key_hash(key: str | None) -> str | None:
    """A sticky key as it stands in the log: 16 hex digits of its blake2b."""
    return None if key is None else blake2b(key.encode(), digest_size=8).hexdigest()


def excerpt(body: bytes, limit: int) -> Excerpt:
    """A body of JSON: the value itself where it is whole, else the beginning of it as text; never raises."""
    if not body:
        return Excerpt(None)
    if len(body) <= limit:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return Excerpt(body.decode("utf-8", "replace"))
        # A fragment is copied as it stands, so it must not break the journal's line.
        return Excerpt(value if b"\n" in body or b"\r" in body else orjson.Fragment(body))
    return Excerpt(body[:limit].decode("utf-8", "replace"), truncated=True)


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
) -> dict[str, Any]:
    """All fields but `record_id` and `time`, which the journal knows."""
    choice, item = passage.choice, passage.item
    attempts = passage.attempts if item is None else item.attempts
    upstream_ms = passage.upstream_ms if item is None else item.upstream_ms
    return {
        "request_id": passage.inbound.request_id,
        "model": passage.model,
        "version": None if choice is None else choice.version,
        "digest": None if choice is None else choice.target.version.digest,
        "router": router,
        "replica": passage.replica if item is None else item.replica,
        "epoch": None if choice is None else choice.epoch,
        "reason": None if choice is None else choice.reason,
        "stale": passage.stale,
        "key_hash": key_hash(passage.key),
        "principal": None,
        "protocol": passage.protocol,
        "status": status,
        "error": error,
        "attempts": [attempt.as_record() for attempt in attempts],
        "rows": None if item is None else item.rows or None,
        "batch_rows": passage.batch_rows or None,
        "queue_ms": None if item is None else round(item.queue_ms, 3),
        "upstream_ms": None if upstream_ms is None else round(upstream_ms, 3),
        "total_ms": None if total_ms is None else round(total_ms, 3),
        "payload": {
            "request": request.value,
            "response": response.value,
            "truncated": request.truncated or response.truncated,
        },
    }
