"""Names in prediction and pass-through paths; pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from router.errors import NotFound
from router.names import NAME

INTERNAL = "_pm"  # what router and replica say to each other is not for callers


@dataclass(frozen=True, slots=True)
class Route:
    """A pass-through path: model, pinned version, and the path below them as the replica sees it."""

    model: str
    pin: str | None
    path: str  # decoded
    raw_path: bytes  # as it was sent
    prefix: str


def checked(model: str, pin: list[str]) -> tuple[str, str | None]:
    """A model and its pinned version (at most one), if they are names; raises NotFound otherwise."""
    if not NAME.match(model):
        raise NotFound(f"there is no model {model[:80]!r}", code="unknown_model")
    if not pin:
        return model, None
    if len(pin) > 1 or not NAME.match(pin[0]):
        raise NotFound(f"model {model} has no version {pin[0][:80]!r}", code="unknown_version")
    return model, pin[0]


def passed(path: str, raw_path: bytes) -> Route:
    """Reads `/models/{m}/…` or `/models/{m}/versions/{v}/…`; raises NotFound where the names are none.

    Names hold no escaped characters, so the decoded path and the raw one split at the same places.
    """
    parts = path.split("/", 5)
    raw_parts = raw_path.split(b"/", 5)
    model = parts[2] if len(parts) > 2 else ""
    pinned = len(parts) > 4 and parts[3] == "versions"
    name, pin = checked(model, [parts[4]] if pinned else [])
    taken = 5 if pinned else 3
    if [part.encode() for part in parts[:taken]] != raw_parts[:taken]:
        raise NotFound(f"there is nothing at {path[:200]!r}", code="unknown_path")
    below = "/".join(parts[taken:])
    # Replicas differ in what they make of empty segments, dots and escapes: be as lenient as any of them.
    if INTERNAL in unquote(below).replace("\\", "/").split("/"):
        raise NotFound(f"there is nothing at {path[:200]!r}", code="unknown_path")
    raw_below = b"/".join(raw_parts[taken:])
    return Route(name, pin, f"/{below}", b"/" + raw_below, "/".join(parts[:taken]))
