"""The text of a key: how it is made, recognised and digested; pure.

`pm_ID_SECRET`: eight characters that name the key, and 32 of base62, which are 190 bits. So much chance cannot be
guessed, whatever one guess costs: the digest is one SHA-256 and no slow hash, which would cost every request.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from string import ascii_letters, ascii_lowercase, digits

ID_CHARS = digits + ascii_lowercase
SECRET_CHARS = digits + ascii_letters
ID_LENGTH = 8
SECRET_LENGTH = 32

KEY = re.compile(r"pm_([0-9a-z]{8})_[0-9A-Za-z]{32}\Z")
KEY_ID = re.compile(r"(?:pm_)?([0-9a-z]{8})\Z")

Choose = Callable[[Sequence[str]], str]
"""One of several, by chance nobody can foresee: `secrets.choice`."""


def new_id(choose: Choose) -> str:
    """A new name for a key, without `pm_`."""
    return "".join(choose(ID_CHARS) for _ in range(ID_LENGTH))


def new_key(key_id: str, choose: Choose) -> str:
    """The whole text of a new secret for a key."""
    return f"pm_{key_id}_" + "".join(choose(SECRET_CHARS) for _ in range(SECRET_LENGTH))


def digest(text: str | bytes) -> str:
    """What is stored of a key: the SHA-256 of its whole text, as hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def id_of(text: str) -> str | None:
    """The id in a key's text; None for what is no key of ours."""
    found = KEY.match(text)
    return None if found is None else found[1]
