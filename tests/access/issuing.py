"""An issuer of tokens for tests: its key pairs, its JWKS document, and tokens of every kind; not a test."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from warnings import catch_warnings

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ISSUER = "https://issuer.test/realm"
AUDIENCE = "pointsman"


class Issuing:
    """Key pairs `rsa`, `ec` and `ed`, by their `kid`."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {
            "rsa": RSAKey.generate_key(2048, {"kid": "rsa"}),
            "ec": ECKey.generate_key("P-256", {"kid": "ec"}),
            "ed": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
        }

    def jwks(self, *names: str) -> bytes:
        """The public halves."""
        wanted = names or tuple(self.keys)
        return json.dumps({"keys": [self.keys[name].as_dict(private=False) for name in wanted]}).encode()

    def token(self, alg: str = "ES256", kid: str | None = "ec", key: Key | None = None, **claims: Any) -> str:
        """A token that counts for an hour, unless its claims say otherwise; a claim of None is left out."""
        now = time.time()
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "anna",
            "exp": now + 3600,
            "iat": now,
            "roles": ["caller"],
        } | claims
        header = {"alg": alg, "typ": "JWT"} | ({} if kid is None else {"kid": kid})
        payload = json.dumps({name: value for name, value in said.items() if value is not None})
        signer = key or self.keys[kid or "ec"]
        with catch_warnings(action="ignore", category=SecurityWarning):  # of EdDSA's old name
            return self._signed(header, payload, signer, alg)

    def _signed(self, header: dict[str, Any], payload: str, signer: Key, alg: str) -> str:
        return jws.serialize_compact(header, payload, signer, registry=jws.JWSRegistry(algorithms=[alg]))


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"x" * 32) -> str:
    """A token by hand."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
