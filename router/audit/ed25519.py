"""Signatures by Ed25519 (RFC 8032), with the standard library alone: checked here, never made; pure."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

DER = bytes.fromhex("302a300506032b6570032100")  # what stands before the 32 bytes of a public key
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
BASE = (4 * pow(5, -1, P) % P).to_bytes(32, "little")
Point = tuple[int, int, int, int]


def _add(a: Point, b: Point) -> Point:
    """Extended coordinates (RFC 8032, 5.1.4)."""
    m, n = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    c, d = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def _sum(s: int, base: Point, k: int, key: Point) -> Point:
    """`s` times `base` and `k` times `key`, bit by bit together."""
    both, found = _add(base, key), (0, 1, 1, 0)
    for bit in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):
        found = _add(found, found)
        one, other = s >> bit & 1, k >> bit & 1
        if one or other:
            found = _add(found, both if one and other else base if one else key)
    return found


@cache
def _point(encoded: bytes) -> Point | None:
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is one of `message` by the key of these 32 bytes."""
    base, key = _point(BASE), _point(public)
    if len(signature) != 64 or base is None or key is None:
        return False
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    x, y, z, _ = _sum(s, base, k, (P - key[0], key[1], 1, P - key[3]))
    inverse = pow(z, -1, P)
    found = (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")
    return s < ORDER and found == signature[:32]


def public_keys(pem: str) -> dict[str, bytes]:
    """The raw public keys of one or more PEM blocks, by key id: 16 hex digits of their SHA-256."""
    found = {}
    for block in pem.split("-----BEGIN PUBLIC KEY-----")[1:]:
        der = base64.b64decode(block.split("-----END")[0])
        if der[: len(DER)] != DER or len(der) != len(DER) + 32:
            raise ValueError("a public key is no Ed25519 key")
        found[key_id(der[len(DER) :])] = der[len(DER) :]
    return found


def key_id(public: bytes) -> str:
    """The name of a key."""
    return hashlib.sha256(public).hexdigest()[:16]
