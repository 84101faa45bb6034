"""The audit entry: canonical JSON (RFC 8785), each entry hashed over the one before it; pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import rfc8785

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, how they proved it and why they say they do."""

    name: str
    auth: str = "key"
    reason: str | None = None
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: the last entry's number and hash; `seq` 0 before the first."""

    seq: int = 0
    hash: str = GENESIS

    @classmethod
    def parse(cls, stored: str | None) -> Head:
        """From the stored form `"seq hash"`."""
        if stored is None:
            return cls()
        seq, digest = stored.split(" ")
        return cls(int(seq), digest)

    def text(self) -> str:
        """The stored form."""
        return f"{self.seq} {self.hash}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was asked for and refused: the path, the error, and how many like it were counted and not written."""

    path: str
    code: str
    error: str
    more: int = 0


def entry(
    head: Head,
    *,
    time: str,
    actor: Actor,
    action: str,
    object: str,
    before: object,
    after: object,
    refusal: Refusal | None = None,
    restored: object = None,
) -> tuple[bytes, Head]:
    """The canonical bytes of the next entry and the chain's new head."""
    body: dict[str, Any] = {
        "seq": head.seq + 1,
        "time": time,
        "actor": actor.name,
        "auth": actor.auth,
        "action": action,
        "object": object,
        "outcome": "applied" if refusal is None else "refused",
        "before": before,
        "after": after,
        "reason": actor.reason,
        "ticket": actor.ticket,
        "evidence": [],
        "prev": head.hash,
    }
    if refusal is not None:
        body |= {"path": refusal.path, "code": refusal.code, "error": refusal.error, "more": refusal.more}
    if restored is not None:
        body |= {"restored": restored}
    digest = hashlib.sha256(rfc8785.dumps(body)).hexdigest()
    return rfc8785.dumps(body | {"hash": digest}), Head(head.seq + 1, digest)


def broken_at(chain: list[dict[str, Any]]) -> int | None:
    """The `seq` of the first entry whose number, link or hash is wrong; None for an intact chain."""
    head = Head()
    for number, item in enumerate(chain, start=1):
        body = {key: value for key, value in item.items() if key != "hash"}
        digest = hashlib.sha256(rfc8785.dumps(body)).hexdigest()
        if item.get("seq") != number or item.get("prev") != head.hash or item.get("hash") != digest:
            return number
        head = Head(number, digest)
    return None
