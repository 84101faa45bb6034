"""Names in prediction paths; pure."""

from __future__ import annotations

from router.errors import NotFound
from router.names import NAME


def checked(model: str, pin: list[str]) -> tuple[str, str | None]:
    """A model and its pinned version (at most one), if they are names; raises NotFound otherwise."""
    if not NAME.match(model):
        raise NotFound(f"there is no model {model[:80]!r}", code="unknown_model")
    if not pin:
        return model, None
    if len(pin) > 1 or not NAME.match(pin[0]):
        raise NotFound(f"model {model} has no version {pin[0][:80]!r}", code="unknown_version")
    return model, pin[0]
