"""Keeps keys and tokens out of what is written down, wherever somebody put them; pure."""

from __future__ import annotations

import re

_KEY = re.compile(rb"pm_([0-9a-z]{8})_[0-9A-Za-z]{16,32}")
_TOKEN = re.compile(rb"eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{2,}\.[0-9A-Za-z_-]{8,}")


def veiled(data: bytes) -> bytes:
    """The same without the secrets of keys and tokens in it; what is left of a key is its id.

    What takes their place is allowed wherever they are: within JSON text, within a name.
    """
    # A look for one character is many times faster than one for three.
    if b"_" in data and b"pm_" in data:
        data = _KEY.sub(rb"pm_\1_...", data)
    if b"J" in data and b"eyJ" in data:
        data = _TOKEN.sub(b"eyJ...", data)
    return data


def veiled_text(text: str) -> str:
    """The same of a text."""
    if "pm_" not in text and "eyJ" not in text:
        return text
    return veiled(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
