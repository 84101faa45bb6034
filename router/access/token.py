"""Verifies JSON Web Tokens of one issuer: pinned algorithms, issuer, audience and time; the clock is passed in.

It fetches nothing: the issuer's public keys are set from outside. What was verified is kept by its bytes until it
ends, so that a token costs its signature check once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings

import orjson
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet

from router.access.grant import ALL, PATTERN, Grant
from router.access.principal import Principal
from router.access.roles import ROLES
from router.errors import Unauthorized

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
KEPT = 4096  # tokens a process remembers
LEEWAY_S = 10.0  # between the issuer's clock and ours, for the beginning of a token; its end is its end
SUBJECT = re.compile(r"[\x21-\x7e]{1,200}\Z")
MOST_GRANTS = 64


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say. `roles_claim` is a path with dots."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    roles_claim: str = "roles"


class Verifier:
    """One for a process. `keys` None: none are known yet, and every token is refused."""

    def __init__(self, expected: Expected) -> None:
        if not expected.algorithms or not ALGORITHMS.issuperset(expected.algorithms):
            raise ValueError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}")
        self.wanted = False  # a token named a key that is not known: look for new ones
        self._expected = expected
        self._keys: KeySet | None = None
        # The later name of the same signature.
        also = ["Ed25519"] if "EdDSA" in expected.algorithms else []
        self._registry = jws.JWSRegistry(algorithms=[*expected.algorithms, *also])
        self._known: dict[str, tuple[float, Principal]] = {}

    def use(self, keys: KeySet) -> None:
        """Other public keys: tokens of those that are gone must not go on by memory."""
        self._keys = keys
        self._known = {}

    def principal(self, token: str, now: float) -> Principal:
        """Whose token it is, at Unix time `now`; raises Unauthorized without telling why a signature failed."""
        known = self._known.get(token)
        if known is not None:
            if now < known[0]:
                return known[1]
            del self._known[token]
            raise Unauthorized("the token has expired")
        claims = self._verified(token)
        ends = checked(claims, self._expected, now)
        found = holder(claims, self._expected)
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[token] = ends, found
        return found

    def _verified(self, token: str) -> dict[str, Any]:
        if self._keys is None:
            self.wanted = True
            raise Unauthorized("the issuer's keys are not known yet")
        try:
            with catch_warnings(action="ignore", category=SecurityWarning):  # of EdDSA's old name
                signed = jws.deserialize_compact(token, self._key_of, registry=self._registry)
            claims = orjson.loads(signed.payload)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Unauthorized("the token is not valid here") from error
        if not isinstance(claims, dict):
            raise Unauthorized("the token is not valid here")
        return claims

    def _key_of(self, signed: Any) -> Any:
        """The one key that the token names; without a name only where there is but one. Raises ValueError."""
        assert self._keys is not None
        header: Mapping[str, Any] = signed.headers()
        name = header.get("kid")
        fitting = [key for key in self._keys.keys if name is None or key.kid == name]
        if len(fitting) != 1:
            self.wanted = True
            raise ValueError("no such key")
        use, algorithm = fitting[0].get("use"), fitting[0].get("alg")
        if use not in (None, "sig") or algorithm not in (None, header.get("alg")):
            raise ValueError("a key for something else")
        return fitting[0]


def checked(claims: Mapping[str, Any], expected: Expected, now: float) -> float:
    """When a token with these claims ends (Unix seconds). Raises Unauthorized for one that does not count now."""
    if claims.get("iss") != expected.issuer:
        raise Unauthorized("the token is of another issuer")
    audience = claims.get("aud")
    if expected.audience not in (audience if isinstance(audience, list) else [audience]):
        raise Unauthorized("the token is for another audience")
    ends = _moment(claims, "exp", None)
    if now >= ends:
        raise Unauthorized("the token has expired")
    if now + LEEWAY_S < _moment(claims, "nbf", 0.0):
        raise Unauthorized("the token does not count yet")
    return ends


def holder(claims: Mapping[str, Any], expected: Expected) -> Principal:
    """The subject with its grants; raises Unauthorized for one without a name."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or SUBJECT.match(subject) is None:
        raise Unauthorized("the token names no subject")
    name = f"oidc:{subject}"
    return Principal(name, f"jwt {expected.issuer}", grants(claims, expected.roles_claim), orjson.dumps(name))


def grants(claims: Mapping[str, Any], path: str) -> tuple[Grant, ...]:
    """What the claim grants: a list, or one text with spaces. What is no role of ours is another's business."""
    value: Any = claims
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    words: Collection[Any] = (
        value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
    )
    found = []
    for word in words:
        role, mark, pattern = word.partition(":") if isinstance(word, str) else ("", "", "")
        models = pattern if mark else ALL
        if role in ROLES and PATTERN.match(models):
            found.append(Grant(role, models))
    return tuple(found[:MOST_GRANTS])


def _moment(claims: Mapping[str, Any], name: str, default: float | None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthorized(f"the token has no {name} that is a time")
    return float(value)
