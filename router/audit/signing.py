"""The key that signs heads, made at the first start, and the public keys that count: files of one folder."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from router.audit.ed25519 import key_id, public_keys

KEY = "signing.key"
PUBLIC = "signing.pub"
TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its id."""

    id: str
    public: bytes
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, private: Ed25519PrivateKey) -> Signer:
        """From a key."""
        public = private.public_key().public_bytes_raw()
        return cls(key_id(public), public, private)

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self.private.sign(message)


def own(folder: Path) -> tuple[Signer, bool]:
    """The key of this folder, and whether it was made just now. Raises OSError, ValueError.

    Where the key is gone, a new one takes its place, and the one before stays trusted.
    """
    path = folder / KEY
    made = not path.exists() and _make(path)
    private = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError(f"{path} is no Ed25519 key")
    signer = Signer.of(private)
    _publish(folder, signer)
    return signer, made


def trusted(folder: Path, signer: Signer) -> dict[str, bytes]:
    """Raw public keys by id. Raises OSError, ValueError for a file that holds none."""
    found = {signer.id: signer.public}
    for path in sorted((folder / TRUSTED).glob("*")):
        found |= public_keys(path.read_text("ascii"))
    return found


def pem(public: bytes) -> str:
    """A raw public key as PEM."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """The same as `ed25519.ed25519`, fifty times as fast."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _make(path: Path) -> bool:
    """Writes a new key; False where another process was faster."""
    body = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    _write(draft, body)
    try:
        os.link(draft, path)  # whole, and only if there is none
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _publish(folder: Path, signer: Signer) -> None:
    """The public key beside the private one; another that lay there goes among the trusted."""
    path, text = folder / PUBLIC, pem(signer.public).encode()
    before = path.read_bytes() if path.exists() else text
    if before != text:
        (folder / TRUSTED).mkdir(mode=0o700, exist_ok=True)
        for name, public in public_keys(before.decode("ascii")).items():
            _write(folder / TRUSTED / f"{name}.pub", pem(public).encode())
    if before != text or not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        _write(draft, text)
        os.replace(draft, path)


def _write(path: Path, body: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, body)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
