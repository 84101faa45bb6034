"""What promote, rollback, split and fallback make of a route: values in and out; no I/O, no clock, no chance."""

from __future__ import annotations

from msgspec.structs import replace

from router.documents import Route
from router.errors import BadInput, Conflict
from router.route.buckets import BUCKETS, reassign

WHOLE = 100  # percent
STEP = BUCKETS // WHOLE  # buckets a percent


def promote(route: Route | None, model: str, version: str) -> Route | None:
    """The route with `version` active and alone; None where it already is (nothing changes).

    The version it replaces becomes `previous`. Promoting the active version while weights exist only ends
    the split: `previous` stays what it was.
    """
    if route is None:
        return Route(model=model, active=version)
    if route.active != version:
        return replace(route, active=version, previous=route.active, weights=None, ranges=())
    if route.weights is None:
        return None
    return replace(route, weights=None, ranges=())


def rollback(route: Route | None, to: str | None = None) -> Route:
    """The route with `to`, or else its previous version, active and alone, and no previous version.

    Raises Conflict `no_previous` without both: a second rollback in a hurry must not toggle back. Raises
    Conflict `no_active_version` where nothing was ever promoted.
    """
    if route is None or route.active is None:
        raise _nothing_active(route, "rolled back")
    target = to if to is not None else route.previous
    if target is None:
        raise Conflict(_no_previous(route), code="no_previous")
    return replace(route, active=target, previous=None, weights=None, ranges=())


def split(route: Route | None, weights: dict[str, float], salt: str) -> Route | None:
    """The route with traffic shared by `weights` (percent); None where that is how it is shared already.

    Weights have at most two decimals, and sum to 100. A zero leaves its version out; everything on the
    active version ends the split. `active` stays. `salt` is taken only where no split was running: buckets
    of a running one keep their keys. Raises BadInput `bad_weights`, Conflict `no_active_version`.
    """
    buckets = _in_buckets(weights)
    if route is None or route.active is None:
        raise _nothing_active(route, "split")
    shared: dict[str, float] | None = {
        version: number / STEP for version, number in sorted(buckets.items()) if number
    }
    if shared == {route.active: float(WHOLE)}:
        shared = None
    if shared == route.weights:
        return None
    if shared is None:
        return replace(route, weights=None, ranges=())
    if route.weights is None:
        whole = ((0, BUCKETS, route.active),)
        return replace(route, weights=shared, ranges=reassign(whole, shared), salt=salt)
    return replace(route, weights=shared, ranges=reassign(route.ranges, shared))


def fall_back(route: Route | None, to: str) -> Route | None:
    """The route with `to` (a version, `auto` or `none`) answering where the chosen version cannot; None where
    it already does. Raises Conflict `no_active_version`.
    """
    if route is None or route.active is None:
        raise _nothing_active(route, "given a fallback")
    return None if route.fallback == to else replace(route, fallback=to)


def _in_buckets(weights: dict[str, float]) -> dict[str, int]:
    """Buckets by version, of 10,000; raises BadInput where the percentages are none or do not fill them."""
    if not weights:
        raise BadInput("weights name no version", code="bad_weights", field="weights")
    found = {}
    for version, weight in weights.items():
        where = f"weights.{version}"
        if isinstance(weight, bool) or not 0 <= weight <= WHOLE:
            raise BadInput(
                f"the weight of {version} is {weight}: it must lie between 0 and 100",
                code="bad_weights",
                field=where,
            )
        found[version] = round(weight * STEP)
        if abs(found[version] - weight * STEP) > 1e-6:
            raise BadInput(
                f"the weight of {version} is {weight}: at most two decimals, there are 10,000 buckets",
                code="bad_weights",
                field=where,
            )
    if sum(found.values()) != BUCKETS:
        total = sum(found.values()) / STEP
        raise BadInput(f"weights sum to {total:g}, not to 100", code="bad_weights", field="weights")
    return found


def _nothing_active(route: Route | None, verb: str) -> Conflict:
    model = "this model" if route is None else f"model {route.model}"
    return Conflict(
        f"{model} has no active version that could be {verb}: promote one first", code="no_active_version"
    )


def _no_previous(route: Route) -> str:
    ends = f"`split {route.model} {route.active}=100` ends the split, " if route.weights else ""
    return (
        f"model {route.model} has no previous version to go back to: {ends}"
        f"`rollback {route.model} --to VERSION` goes to a version you name"
    )
