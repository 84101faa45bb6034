"""Decides who a credential belongs to and whether it still counts; pure: keys and clock are passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from types import MappingProxyType
from typing import Protocol

import orjson

from router.access.credential import Credential
from router.access.key import Key
from router.access.principal import Principal, administrator, refusal
from router.access.roles import Verb
from router.clock import parse_rfc3339
from router.errors import Unauthorized

NEVER = float("inf")
ABSENT = "this needs a key: `Authorization: Bearer KEY`"
UNKNOWN = "the key is not known here"


class Tokens(Protocol):
    """Who else can vouch for a caller: an issuer of tokens."""

    def principal(self, token: str, now: float) -> Principal:
        """Whose token it is; raises Unauthorized."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change while a process runs: whether callers need a key, and who else is believed.

    `admin` is the SHA-256 of the key of the data directory.
    """

    required: bool = False
    admin: bytes | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A key in the form that a check needs; `former` is taken before `former_ends` (Unix seconds)."""

    principal: Principal
    digest: bytes
    ends: float
    former: bytes | None
    former_ends: float
    revoked: bool

    def owns(self, given: bytes, now: float) -> bool:
        """Whether a digest is that of the secret, or of the one before while both count."""
        if compare_digest(given, self.digest):
            return True
        return self.former is not None and now < self.former_ends and compare_digest(given, self.former)


def holder(key: Key) -> Holder:
    """From the stored document."""
    return Holder(
        principal=Principal(key.name, f"key pm_{key.id}", key.grants, orjson.dumps(f"pm_{key.id}")),
        digest=bytes.fromhex(key.digest),
        ends=NEVER if key.expires is None else parse_rfc3339(key.expires),
        former=None if key.former is None else bytes.fromhex(key.former),
        former_ends=0.0 if key.overlap_ends is None else parse_rfc3339(key.overlap_ends),
        revoked=key.revoked is not None,
    )


@dataclass(frozen=True, slots=True)
class Admission:
    """All keys at one revision, by id, with the rules. Replaced as a whole, never changed."""

    rules: Rules = Rules()
    keys: Mapping[str, Key] = field(default_factory=lambda: MappingProxyType({}))
    required: bool = False
    _holders: Mapping[str, Holder] = field(default_factory=lambda: MappingProxyType({}))

    @staticmethod
    def of(rules: Rules, keys: Iterable[Key] = ()) -> Admission:
        """From stored documents."""
        return _admission(rules, {key.id: key for key in keys})

    def with_keys(self, stored: Iterable[Key]) -> Admission:
        """With the newer form of each key. A key is never deleted, so one that is not stored was lost: it stays.

        So no Redis that fell back to an older state gives a revoked key its life back.
        """
        keys = dict(self.keys)
        for key in stored:
            known = keys.get(key.id)
            if known is None or known.revision <= key.revision:
                keys[key.id] = key
        return _admission(self.rules, keys)

    def principal(self, given: Credential | None, now: float) -> Principal:
        """Whose credential it is, at Unix time `now`. Raises Unauthorized; only who has the secret hears why."""
        if given is None:
            raise Unauthorized(ABSENT)
        found = self._holders.get(given.id)
        if found is not None and found.owns(given.digest, now):
            if found.revoked:
                raise Unauthorized("the key was revoked")
            if now >= found.ends:
                raise Unauthorized("the key has expired")
            return found.principal
        if self.rules.admin is not None and compare_digest(given.digest, self.rules.admin):
            return ADMINISTRATOR
        if given.token and self.rules.tokens is not None:
            return self.rules.tokens.principal(given.token, now)
        raise Unauthorized(UNKNOWN)


def _admission(rules: Rules, keys: Mapping[str, Key]) -> Admission:
    holders = {key.id: holder(key) for key in keys.values()}
    return Admission(rules, MappingProxyType(dict(keys)), rules.required, MappingProxyType(holders))


def permitted(principal: Principal, model: str) -> None:
    """Raises Forbidden where a caller may not ask the model for anything."""
    if not principal.may_predict(model):
        raise refusal(principal, Verb.PREDICT, model)


ADMINISTRATOR = administrator()
