"""What stands in a version's way: to be undeployed, to answer, to become ready; values in, values out."""

from __future__ import annotations

from router.documents import ModelState, Replica
from router.errors import Conflict
from router.route.table import Entry


def require_unrouted(state: ModelState, version: str, *, force: bool) -> None:
    """Raises Conflict `still_routed`, `not_deployed`. `force` gives up the way back, never a target."""
    route, name = state.route, f"version {version} of model {state.model}"
    if route is not None and (version in route.targets() or version == route.fallback):
        raise Conflict(f"{name} is still routed", code="still_routed", field="version")
    if route is not None and version == route.previous and not force:
        raise Conflict(
            f"{name} is the previous version, kept warm for a rollback; `force` gives that up",
            code="still_routed",
            field="version",
        )
    if version not in state.desired:
        raise Conflict(f"{name} is not deployed", code="not_deployed", field="version")


def failed(state: ModelState, version: str) -> list[Replica]:
    """The replicas of a version that will not become ready by themselves."""
    return [r for r in state.replicas if r.version == version and r.state == "failed"]


def idle_reason(entry: Entry, state: ModelState, version: str) -> str | None:
    """Why a version that exists does not answer, or None; what went wrong in a replica is not told here."""
    if version not in state.desired:
        return "not deployed"
    target = entry.targets.get(version)
    if target is not None and target.replicas:
        return None
    return "its replicas failed" if failed(state, version) else "no replica is ready yet"
