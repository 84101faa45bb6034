"""JSON in the one form of RFC 8785, with the standard library alone; pure."""

from __future__ import annotations

import json
import math
from decimal import Decimal


def canonical(value: object) -> bytes:
    """JSON values in the one form of RFC 8785. Raises ValueError."""
    return _text(value).encode()


def _text(value: object) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in names) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """As ECMAScript writes it."""
    if not math.isfinite(value):
        raise ValueError("no number")
    if value == 0:
        return "0"
    _, parts, exponent = Decimal(repr(value)).normalize().as_tuple()
    digits, sign = "".join(map(str, parts)), "-" if value < 0 else ""
    point = len(digits) + int(exponent)
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"
