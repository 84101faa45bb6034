"""Where an issuer's public keys come from: a file or address that an administrator set, never one of a token.

The only I/O of this room, and never on the way of a request.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

MOST_BYTES = 256 << 10
FETCH_S = 5.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class NoKeys(Exception):
    """There are no keys to be had there; the text says why, and holds nothing of what was read."""


def check(place: str) -> None:
    """Raises ValueError for an address that is not to be trusted with this."""
    if "://" not in place:
        return
    parts = urlsplit(place)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return
    raise ValueError(f"jwt_jwks must be a file or an https address (http only on this machine): {place}")


async def read(place: str) -> bytes:
    """The bytes at a path or an address, at most 256 KiB; raises NoKeys."""
    try:
        return await _fetch(place) if "://" in place else _load(Path(place))
    except (OSError, httpx.HTTPError) as error:
        raise NoKeys(f"{place}: {error or type(error).__name__}") from error


def parse(data: bytes) -> KeySet:
    """The public keys for signatures in a JWKS document; raises NoKeys where there is none."""
    try:
        listed = orjson.loads(data)["keys"]
        usable = [each for each in listed if each.get("kty") in ("RSA", "EC", "OKP") and "d" not in each]
        found = KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise NoKeys(f"it is no JWKS document: {type(error).__name__}") from error
    if not found.keys:
        raise NoKeys("it holds no public key")
    return found


def _load(path: Path) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise NoKeys(f"{path} is over {MOST_BYTES} bytes")
    return data


async def _fetch(url: str) -> bytes:
    parts = bytearray()
    # No redirects, no proxy of the environment: it is this address, or none.
    async with (
        httpx.AsyncClient(timeout=FETCH_S, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as answer,
    ):
        if answer.status_code != 200:
            raise NoKeys(f"{url} answers {answer.status_code}")
        async for part in answer.aiter_bytes():
            parts += part
            if len(parts) > MOST_BYTES:
                raise NoKeys(f"{url} gives more than {MOST_BYTES} bytes")
    return bytes(parts)
