"""Names of the control keys: one hash tag, so that one script may touch them all on a Redis Cluster too."""

from __future__ import annotations

TAG = "{pm}"
REVISION = f"{TAG}:revision"
CHANGES = f"{TAG}:changes"  # sorted set: model by the revision that last touched it
ROUTES = f"{TAG}:routes"  # hash: model -> route document
MODELS = f"{TAG}:models"  # hash: model -> {"created": time}
ROUTERS = f"{TAG}:routers"  # hash: router id -> RouterLease
HEADS = f"{TAG}:heads"  # hash: model -> "seq hash" of the last audit entry
HINT = f"{TAG}:hint"  # channel: "there is a new revision"; only ever a hint
ACKS = f"{TAG}:acks"  # channel: "a router acknowledged"; only ever a hint


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
