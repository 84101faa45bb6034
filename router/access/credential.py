"""What a request carries to prove who asks: found in its headers once, without judging it; pure.

`Authorization: Bearer TEXT`, or `x-api-key: TEXT` with a key of ours, which then goes before the other: the
Authorization header may be meant for the model's own code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from router.access.secret import id_of

AUTHORIZATION = b"authorization"
API_KEY = b"x-api-key"
LONGEST = 8192  # bytes of a token
KEPT = 1024  # texts whose reading is remembered: callers send theirs again and again


@dataclass(frozen=True, slots=True)
class Credential:
    """`id` names a key of ours, `token` is a JSON Web Token by its form; `header` is where it stood."""

    header: bytes
    digest: bytes
    id: str = ""
    token: str = ""


def find(headers: Iterable[tuple[bytes, bytes]]) -> Credential | None:
    """The credential of a request; None where there is none, or where there are two of a kind."""
    bearer: list[bytes] = []
    ours: list[bytes] = []
    for name, value in headers:
        if name == AUTHORIZATION:
            scheme, _, text = value.partition(b" ")
            bearer.append(text.strip() if scheme.lower() == b"bearer" else b"")
        elif name == API_KEY and is_ours(value):
            ours.append(value.strip())
    if ours:
        return read(API_KEY, ours[0]) if len(ours) == 1 else None
    return read(AUTHORIZATION, bearer[0]) if len(bearer) == 1 and bearer[0] else None


@lru_cache(KEPT)
def read(header: bytes, given: bytes) -> Credential | None:
    """One text as a credential; None for what cannot be any."""
    if len(given) > LONGEST or not given.isascii():
        return None
    text = given.decode("ascii")
    token = text if text.startswith("eyJ") and text.count(".") == 2 else ""
    return Credential(header, hashlib.sha256(given).digest(), id_of(text) or "", token)


def is_ours(value: bytes) -> bool:
    """Whether a header's value is a key of ours, by its form."""
    text = value[7:].strip() if value[:7].lower() == b"bearer " else value.strip()
    return text.startswith(b"pm_") and text.isascii() and id_of(text.decode("ascii")) is not None
