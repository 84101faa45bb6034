"""The choice of a version for one request: a function of the snapshot, the pin, the key and one random number."""

from __future__ import annotations

from router.errors import NotFound, Unavailable
from router.route.buckets import BUCKETS, bucket_of
from router.route.table import Choice, Entry, Table


def entry_of(table: Table, model: str) -> Entry:
    """The model's entry; raises NotFound `unknown_model`."""
    entry = table.entries.get(model)
    if entry is None:
        raise NotFound(f"there is no model {model[:80]!r}", code="unknown_model")
    return entry


def choose(entry: Entry, pin: str | None, key: str | None, random: float) -> Choice:
    """The version for one request. `random` is uniform in [0, 1) and used only for a split without a key.

    Raises NotFound `unknown_version` for a pin that does not exist, Unavailable `not_deployed` for one that
    does not run, and Unavailable `no_active_version` where there is no pin and nothing is active.
    """
    route = entry.route
    if pin is not None:
        return _chosen(entry, pin, "pin")
    if route.active is None:
        raise Unavailable(f"model {route.model} has no active version", code="no_active_version")
    if not entry.owners:
        return _chosen(entry, route.active, "active")
    if key is not None:
        return _chosen(entry, entry.owner(bucket_of(key.encode(), entry.salt)), "sticky")
    return _chosen(entry, entry.owner(int(random * BUCKETS)), "split")


def _chosen(entry: Entry, version: str, reason: str) -> Choice:
    choice = entry.choices.get((version, reason))
    if choice is not None:
        return choice
    model = entry.route.model
    if version not in entry.known:
        raise NotFound(f"model {model} has no version {version[:80]!r}", code="unknown_version")
    raise Unavailable(f"version {version} of model {model} is not deployed", code="not_deployed")
