"""The record of one request, built once at its end; the field names are contracts.md's; pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson

from router.edge.codec import Excerpt
from router.route.choice import Choice
from router.upstream.work import Item


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
    *,
    request_id: str,
    model: str,
    router: str,
    protocol: str,
    choice: Choice | None,
    item: Item | None,
    key: str | None,
    status: int,
    error: str | None,
    stale: bool,
    batch_rows: int,
    total_ms: float,
    payload: dict[str, Any],
) -> dict[str, Any]:
    """All fields but `record_id` and `time`, which the journal knows."""
    return {
        "request_id": request_id,
        "model": model,
        "version": None if choice is None else choice.version,
        "digest": None if choice is None else choice.target.version.digest,
        "router": router,
        "replica": None if item is None else item.replica,
        "epoch": None if choice is None else choice.epoch,
        "reason": None if choice is None else choice.reason,
        "stale": stale,
        "key_hash": key_hash(key),
        "principal": None,
        "protocol": protocol,
        "status": status,
        "error": error,
        "attempts": [] if item is None else [attempt.as_record() for attempt in item.attempts],
        "rows": None if item is None else item.rows,
        "batch_rows": batch_rows or None,
        "queue_ms": None if item is None else round(item.queue_ms, 3),
        "upstream_ms": None if item is None else round(item.upstream_ms, 3),
        "total_ms": round(total_ms, 3),
        "payload": payload,
    }
