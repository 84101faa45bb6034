"""Tokens of an issuer: what counts, and everything that must not; real keys, the clock is a number."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from router.access import jwks
from router.access.grant import Grant
from router.access.roles import Verb
from router.access.token import KEPT, Expected, Verifier, grants
from router.errors import Unauthorized
from tests.access.issuing import AUDIENCE, ISSUER, Issuing, unsigned

HERE = Issuing()
OTHERS = Issuing()
EXPECTED = Expected(ISSUER, AUDIENCE, ("RS256", "ES256", "EdDSA"))
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": 4e9, "roles": ["admin"]}


def verifier(expected: Expected = EXPECTED, document: bytes | None = None) -> Verifier:
    """One that knows the issuer's keys."""
    made = Verifier(expected)
    made.use(jwks.parse(document or HERE.jwks()))
    return made


def refuses(token: str, by: Verifier | None = None, now: float | None = None) -> bool:
    """Whether it does not count."""
    try:
        (by or verifier()).principal(token, time.time() if now is None else now)
    except Unauthorized:
        return True
    return False


@pytest.mark.parametrize(
    ("alg", "kid"), [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed"), ("Ed25519", "ed")]
)
def test_a_token_of_the_issuer_counts(alg: str, kid: str) -> None:
    token = HERE.token(alg, kid, roles=["caller:fraud-*", "viewer"])
    principal = verifier().principal(token, time.time())
    assert (principal.name, principal.auth) == ("oidc:anna", f"jwt {ISSUER}")
    assert principal.record == b'"oidc:anna"'
    assert principal.may(Verb.PREDICT, "fraud-eu")
    assert not principal.may(Verb.PREDICT, "digits")
    assert principal.may(Verb.READ, "digits")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.test"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"exp": True},
        {"nbf": 4e9},
        {"nbf": "x"},
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "x" * 201},
        {"sub": 7},
    ],
    ids=str,
)
def test_a_token_that_says_something_else_does_not(claims: dict[str, Any]) -> None:
    assert not refuses(HERE.token())
    assert refuses(HERE.token(**claims))


def test_an_audience_may_be_one_of_several() -> None:
    assert not refuses(HERE.token(aud=["another", AUDIENCE]))


def test_no_signature_but_the_pinned_ones_counts() -> None:
    # The public key as the secret of an HMAC: the classic confusion.
    confused = unsigned({"alg": "HS256", "kid": "rsa"}, CLAIMS, b"").rstrip(".")
    public = HERE.keys["rsa"]
    assert isinstance(public, RSAKey)
    mac = hmac.digest(public.as_pem(private=False), confused.encode(), "sha256")
    for token in (
        unsigned({"alg": "none"}, CLAIMS, b""),
        unsigned({"alg": "none", "kid": "ec"}, CLAIMS, b""),
        unsigned({"alg": "None", "kid": "ec"}, CLAIMS),
        unsigned({"alg": "HS256", "kid": "rsa"}, CLAIMS),
        f"{confused}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}",
        HERE.token("RS512", "rsa"),
        unsigned({"alg": "ES256", "kid": "ec", "jwk": HERE.keys["ec"].as_dict()}, CLAIMS),
        unsigned({"alg": ["ES256"], "kid": "ec"}, CLAIMS),
        unsigned({"kid": "ec"}, CLAIMS),
    ):
        assert refuses(token), token[:60]
    narrow = verifier(Expected(ISSUER, AUDIENCE, ("ES256",)))
    assert refuses(HERE.token("RS256", "rsa"), narrow)
    assert not refuses(HERE.token("ES256", "ec"), narrow)


def test_another_issuers_key_of_the_same_name_does_not_count() -> None:
    assert refuses(OTHERS.token("ES256", "ec"))
    assert refuses(HERE.token("ES256", "ec", key=OTHERS.keys["ec"]))
    assert refuses(HERE.token("ES256", "rsa", key=HERE.keys["ec"]))


def test_a_key_that_is_not_known_is_wanted() -> None:
    made = verifier(document=HERE.jwks("rsa"))
    before = made.wanted
    assert refuses(HERE.token("ES256", "ec"), made)
    assert (before, made.wanted) == (False, True)
    made.use(jwks.parse(HERE.jwks()))
    assert not refuses(HERE.token("ES256", "ec"), made)


def test_without_a_name_only_a_single_key_counts() -> None:
    assert refuses(HERE.token("ES256", None))
    assert not refuses(HERE.token("ES256", None), verifier(document=HERE.jwks("ec")))


def test_a_verified_token_ends_when_it_said_and_with_its_key() -> None:
    now = time.time()
    made, token = verifier(), HERE.token(exp=now + 60)
    first = made.principal(token, now)
    assert made.principal(token, now + 59.9) is first
    assert refuses(token, made, now + 60)
    assert refuses(token, made, now + 61)
    again = HERE.token()
    assert not refuses(again, made)
    made.use(jwks.parse(HERE.jwks("rsa")))
    assert refuses(again, made)


def test_memory_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = verifier()
    made._known = {str(number): (0.0, None) for number in range(KEPT)}  # type: ignore[misc]
    assert not refuses(HERE.token(), made)
    assert len(made._known) == 1


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.sampled_from("ABCabc019-_."))
def test_no_changed_character_goes_unseen(place: int, char: str) -> None:
    token = TOKEN
    place %= len(token)
    changed = token[:place] + char + token[place + 1 :]
    if changed != token and not _same_bytes(changed, token):
        assert refuses(changed)


TOKEN = HERE.token()


def _same_bytes(one: str, other: str) -> bool:
    """The last character of a base64 part has bits that mean nothing."""

    def bare(text: str) -> list[str]:
        return [part[:-1] for part in text.split(".")]

    return bare(one) == bare(other)


@given(st.text(max_size=300))
def test_any_text_is_refused_in_order(text: str) -> None:
    assert refuses("eyJ" + text)


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        (["caller", "viewer:a*"], (Grant("caller"), Grant("viewer", "a*"))),
        ("caller admin:x", (Grant("caller"), Grant("admin", "x"))),
        (["offline_access", "uma", "Admin", "caller:", "caller:A"], ()),
        ([1, None, {}, ["admin"]], ()),
        ({"caller": True}, ()),
        (None, ()),
    ],
)
def test_what_a_claim_grants(claim: Any, found: tuple[Grant, ...]) -> None:
    assert grants({"realm_access": {"roles": claim}}, "realm_access.roles") == found
    assert grants({"roles": claim}, "roles") == found
    assert grants({"roles": claim}, "roles.deeper") == ()


def test_algorithms_are_of_the_list() -> None:
    for wrong in ((), ("HS256",), ("none",), ("ES256", "RS512")):
        with pytest.raises(ValueError, match="algorithms"):
            Verifier(Expected(ISSUER, AUDIENCE, wrong))


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": []}',
        b'{"keys": [7]}',
        b'{"keys": [{"kty": "oct", "k": "eA"}]}',
        b'{"keys": [{"kty": "RSA"}]}',
    ],
)
def test_what_is_no_jwks_document(document: bytes) -> None:
    with pytest.raises(jwks.NoKeys):
        jwks.parse(document)


def test_a_private_key_in_the_document_is_no_public_one() -> None:
    both = {"keys": [HERE.keys["ec"].as_dict(private=True), HERE.keys["rsa"].as_dict(private=False)]}
    assert [key.kid for key in jwks.parse(json.dumps(both).encode()).keys] == ["rsa"]
