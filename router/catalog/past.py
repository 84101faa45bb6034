"""What was active at a time, from history alone: entries in, states out; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from router.clock import parse_rfc3339


def is_later(entry: Mapping[str, Any], at: float) -> bool:
    """Whether the change was made after `at` (Unix seconds)."""
    return parse_rfc3339(entry["time"]) > at


def state_of(model: str, entry: Mapping[str, Any] | None, digests: Mapping[str, str]) -> dict[str, Any]:
    """What the model's callers got since that change; nobody answered before the first one."""
    if entry is None:
        return {
            "model": model,
            "active": None,
            "weights": None,
            "epoch": 0,
            "since": None,
            "actor": None,
            "action": None,
            "reason": None,
            "digests": {},
        }
    after = entry["after"]
    return {
        "model": model,
        "active": after.get("active"),
        "weights": after.get("weights"),
        "epoch": entry["epoch"],
        "since": entry["time"],
        "actor": entry["actor"],
        "action": entry["action"],
        "reason": entry.get("reason"),
        "digests": dict(digests),
    }


def answering(entry: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The versions that answered after a change, without pins and rules."""
    if entry is None:
        return ()
    after = entry["after"]
    found = dict.fromkeys(after.get("weights") or ())
    if after.get("active") is not None:
        found.setdefault(after["active"])
    return tuple(found)


def active_since(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """Since when the active version is, of the last changes, oldest first; the oldest where none moved it."""
    for entry in reversed(entries):
        before = entry.get("before") or {}
        if before.get("active") != entry["after"].get("active"):
            return str(entry["time"])
    return str(entries[0]["time"]) if entries else None
