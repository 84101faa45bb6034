"""What `verify.py` brings along itself, against the libraries that the writer uses."""

from __future__ import annotations

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from router.audit import signing
from router.audit.canonical import canonical
from router.audit.ed25519 import ORDER, ed25519, public_keys
from tests.audit.trails import FORGER, SIGNER

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | FLOATS | TEXT
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)


@given(JSON)
def test_canonical_json_is_that_of_the_library(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(FLOATS)
def test_numbers_are_those_of_the_library(value: float) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@settings(max_examples=15, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=64), st.integers(0, 511))
def test_signatures_are_judged_as_the_library_does(seed: bytes, message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert ed25519(public, message, signature)
    assert not ed25519(public, message + b"x", signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not ed25519(public, message, bytes(flipped))
    assert signing.verify(public, message, signature)
    assert not signing.verify(public, message, bytes(flipped))


def test_a_signature_has_one_form() -> None:
    """S + ORDER would be a second one."""
    signature = SIGNER.sign(b"m")
    second = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    assert ed25519(SIGNER.public, b"m", signature)
    assert not ed25519(SIGNER.public, b"m", second)
    assert not ed25519(b"\xff" * 32, b"m", signature)
    assert not ed25519(SIGNER.public, b"m", b"short")


def test_public_keys_of_a_pem_with_several() -> None:
    pem = signing.pem(SIGNER.public) + signing.pem(FORGER.public)
    assert public_keys(pem) == {SIGNER.id: SIGNER.public, FORGER.id: FORGER.public}
