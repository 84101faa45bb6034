"""The names of models, versions and requests, and what is allowed in them; pure."""

from __future__ import annotations

import re

from router.errors import BadInput

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")


def check_name(value: object, field: str) -> str:
    """`value` if it may name a model or a version; raises BadInput naming `field` otherwise."""
    if isinstance(value, str) and NAME.match(value):
        return value
    raise BadInput(
        f"{field} must match [a-z0-9][a-z0-9._-]{{0,62}}, got {str(value)[:80]!r}",
        code="bad_name",
        field=field,
    )


def is_request_id(value: str) -> bool:
    """Whether a caller's `x-request-id` may be kept; others are replaced, never refused."""
    return REQUEST_ID.match(value) is not None


def version_order(version: str) -> tuple[bool, int, str]:
    """The sorting key of versions: numbers by value, then names."""
    number = version.isascii() and version.isdigit()
    return not number, int(version) if number else 0, version
