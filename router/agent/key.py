"""The control key: read from its file, compared in constant time; it makes no key and knows no HTTP."""

from __future__ import annotations

import hmac
from pathlib import Path

FILE = "admin.key"


def read_key(data_dir: Path) -> str:
    """The key that `up` made in `data_dir`. Raises OSError, ValueError for an empty file."""
    path = data_dir / FILE
    key = path.read_text("ascii").strip()
    if not key:
        raise ValueError(f"{path} is empty: remove it, and `pointsman up` makes a new key")
    return key


def same(given: str, key: str) -> bool:
    """Whether `given` is the key, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(), key.encode())
