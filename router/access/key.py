"""The stored document of a key, and its life: made, rotated, revoked; values only, the clock is passed in."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from router.access.grant import Grant
from router.clock import parse_rfc3339, rfc3339
from router.errors import Conflict

MOST = 2000
"""Keys of one installation, revoked ones too: routers read all of them at each change of one."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key; its secret is not. Times are RFC 3339, `revision` is that of its last change.

    After a rotation the secret before (`former`) is taken until `overlap_ends`.
    """

    id: str
    name: str
    digest: str
    grants: tuple[Grant, ...]
    created: str
    created_by: str
    expires: str | None = None
    rotated: str | None = None
    former: str | None = None
    overlap_ends: str | None = None
    revoked: str | None = None
    revision: int = 0

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked` at Unix time `now`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= parse_rfc3339(self.expires) else "active"

    def document(self, now: float) -> dict[str, object]:
        """As the outside sees it: without any digest."""
        overlap = self.overlap_ends
        if overlap is not None and now >= parse_rfc3339(overlap):
            overlap = None
        return {
            "id": f"pm_{self.id}",
            "name": self.name,
            "state": self.state(now),
            "grants": self.grants,
            "created": self.created,
            "created_by": self.created_by,
            "expires": self.expires,
            "rotated": self.rotated,
            "overlap_ends": overlap,
            "revoked": self.revoked,
        }


def rotated(key: Key, digest: str, overlap_s: float, now: float) -> Key:
    """With a new secret; the present one goes on for the overlap, one before it ends at once."""
    if (state := key.state(now)) != "active":
        raise Conflict(f"key pm_{key.id} is {state}: make a new one", code="key_ended")
    return replace(
        key,
        digest=digest,
        rotated=rfc3339(now),
        former=key.digest if overlap_s > 0 else None,
        overlap_ends=rfc3339(now + overlap_s) if overlap_s > 0 else None,
    )


def revoked(key: Key, now: float) -> Key:
    """Refused from now on, for good; the same where it is so already."""
    if key.revoked is not None:
        return key
    return replace(key, revoked=rfc3339(now), former=None, overlap_ends=None)
