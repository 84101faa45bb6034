"""Reads a chain with all it tells of, the end of it as one picture with the state; changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from router.audit.stored import Stored
from router.registry import keys
from router.registry.reads import stored_keys
from router.registry.registry import Registry

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Trail:
    """The lines of a chain, the last head as it was signed in Redis, and what stands beside them."""

    lines: list[bytes]
    signed: bytes | None
    stored: Stored


async def pages(registry: Registry, chain: str) -> AsyncIterator[list[bytes]]:
    """The lines of a chain, oldest first. Raises redis' own errors."""
    start = 0
    while True:
        found: list[bytes] = await registry.redis.lrange(keys.audit(chain), start, start + PAGE - 1)
        if found:
            yield found
        if len(found) < PAGE:
            return
        start += PAGE


async def trail(registry: Registry, chain: str) -> Trail:
    """All of it; what is added meanwhile is there in chain and state, or in neither."""
    lines = [line async for page in pages(registry, chain) for line in page]
    history = await _listed(registry, keys.history(chain))
    tail, later, route, versions, desired, head, signed, callers = await registry.look(
        ("LRANGE", keys.audit(chain), len(lines), -1),
        ("LRANGE", keys.history(chain), len(history), -1),
        ("HGET", keys.ROUTES, chain),
        ("HGETALL", keys.versions(chain)),
        ("HGETALL", keys.desired(chain)),
        ("HGET", keys.HEADS, chain),
        ("HGET", keys.SIGNED, chain),
        ("HVALS", keys.KEYS),
    )
    stored = Stored(
        head=None if head is None else head.decode("utf-8", "replace"),
        route=None if route is None else read(route),
        history=[read(line) for line in (*history, *later)],
        versions={_text(name): body for name, body in zip(versions[::2], versions[1::2], strict=True)},
        desired={_text(name): _count(n) for name, n in zip(desired[::2], desired[1::2], strict=True)},
        keys=_callers(callers) if chain == keys.KEYRING else {},
    )
    return Trail([*lines, *tail], signed, stored)


async def heads(registry: Registry) -> tuple[dict[str, str], dict[str, bytes]]:
    """The end of every chain, `"seq hash"`, and the last signed head of every chain that has one."""
    ends, signed = await registry.look(("HGETALL", keys.HEADS), ("HGETALL", keys.SIGNED))
    return (
        {_text(name): _text(head) for name, head in zip(ends[::2], ends[1::2], strict=True)},
        {_text(name): line for name, line in zip(signed[::2], signed[1::2], strict=True)},
    )


async def _listed(registry: Registry, key: str) -> list[bytes]:
    found: list[bytes] = []
    while True:
        page = await registry.redis.lrange(key, len(found), len(found) + PAGE - 1)
        found += page
        if len(page) < PAGE:
            return found


def read(line: bytes) -> Any:
    """A JSON value; the text itself where somebody wrote what is none."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return _text(line)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _count(value: bytes) -> int:
    return int(value) if value.isdigit() else -1


def _callers(found: list[bytes]) -> dict[str, Any]:
    """The callers' keys as the chain tells them: what can be no key, by its text."""
    known: dict[str, Any] = {}
    for line in found:
        try:
            [key] = stored_keys([line])
            document = orjson.loads(msgspec.json.encode(key.document(0.0)))
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError):
            known[_text(line)[:80]] = None
        else:
            known[document["id"]] = document
    return known
