"""When a model is due for review: intervals and moments in, a verdict out; pure."""

from __future__ import annotations

import re

from router.clock import parse_rfc3339, rfc3339
from router.errors import BadInput

EVERY = re.compile(r"([1-9]\d{0,4})(h|d|w)\Z")
UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def every_s(text: str, field: str) -> float:
    """Seconds of an interval such as `90d`. Raises BadInput."""
    match = EVERY.match(text)
    if match is None:
        raise BadInput(f"{field} must be an interval such as 90d, 12h or 26w", field=field)
    return float(match[1]) * UNITS[match[2]]


def due(every: str | None, reviewed: str | None, created: str | None) -> str | None:
    """When the next review is due, RFC 3339; a model that was never reviewed counts from its creation."""
    since = reviewed or created
    if every is None or since is None:
        return None
    return rfc3339(parse_rfc3339(since) + every_s(every, "reviewEvery"))


def overdue(due_at: str | None, now: float) -> bool:
    """Whether that moment has passed."""
    return due_at is not None and parse_rfc3339(due_at) < now
