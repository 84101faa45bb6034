"""Names of the control keys: one hash tag, so that one script may touch them all on a Redis Cluster too."""

from __future__ import annotations

TAG = "{pm}"
REVISION = f"{TAG}:revision"
CHANGES = f"{TAG}:changes"  # sorted set: model by the revision that last touched it
ROUTES = f"{TAG}:routes"  # hash: model -> route document
MODELS = f"{TAG}:models"  # hash: model -> {"created": time}
ROUTERS = f"{TAG}:routers"  # hash: router id -> RouterLease
KEYS = f"{TAG}:keys"  # hash: id of a caller's key -> Key; none is ever removed
HEADS = f"{TAG}:heads"  # hash: model -> "seq hash" of the last audit entry
SIGNED = f"{TAG}:signed"  # hash: model -> the last audit entry's head as its writer signed it
HINT = f"{TAG}:hint"  # channel: "there is a new revision"; only ever a hint
FENCE = f"{TAG}:fence"  # written to learn whether a replica has all that was written before
ACKS = f"{TAG}:acks"  # channel: "a router acknowledged"; only ever a hint


KEYRING = "#keys"
"""Stands for all keys of callers where a model's name stands otherwise; no model can be called so."""


UPKEEP = "#model"
"""Stands where a version's name stands otherwise; no version can be called so."""

INSTALLATION = "#installation"
"""Names the chain of what is about no model that there is, and about no key."""


def replicas(model: str) -> str:
    """Hash: replica id -> Replica."""
    return f"{TAG}:replicas:{model}"


def desired(model: str) -> str:
    """Hash: version -> number of replicas that should run."""
    return f"{TAG}:desired:{model}"


def versions(model: str) -> str:
    """Hash: version -> version document, written once and never again."""
    return f"{TAG}:versions:{model}"


def history(model: str) -> str:
    """List: every change of the route, oldest first."""
    return f"{TAG}:history:{model}"


def audit(model: str) -> str:
    """List: the audit chain of the model, oldest first."""
    return f"{TAG}:audit:{model}"


def addenda(model: str) -> str:
    """Hash: version -> its tags and notes; `#model` -> the model's upkeep. The documents are never touched."""
    return f"{TAG}:addenda:{model}"


def additions(model: str) -> str:
    """List: every change of those, oldest first."""
    return f"{TAG}:additions:{model}"
