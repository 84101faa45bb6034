"""Stored documents, and what changes of routes make of them: one owner a bucket, only what is due moves."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

from types import MappingProxyType

import msgspec
import orjson

from router.documents import ModelState, Replica, Route, RouterLease, Version
from router.errors import BadInput, Conflict, NotFound, Unavailable
from router.registry.change import Change
from router.route import transition
from router.route.buckets import BUCKETS, reassign
from router.route.choice import choose
from router.route.snapshot import Snapshot
from router.route.table import build

NAMES = ("1", "2", "3", "v-4")


def check(data: bytes) -> None:
    """The first byte chooses between documents and changes."""
    if data[:1] >= b"\x80":
        _document(data[1:])
    else:
        _changes(data[1:])


def _document(data: bytes) -> None:
    """Whatever stands where a document belongs: msgspec's errors, as every reader of them expects, or a value."""
    for kind in (Snapshot, Route, Replica, RouterLease, Version):
        try:
            found = msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        assert msgspec.json.decode(msgspec.json.encode(found), type=kind) == found
        if isinstance(found, Snapshot):
            for state in found.models:
                versions = {v.version: v for v in found.versions if v.model == state.model}
                build(state, versions, frozenset())
    change = Change("m")
    change.expect("key", data.decode("latin-1"), data, "route")
    change.write("HSET", "key", "field", data)
    names, args = change.compiled(3)
    assert "key" in names
    assert orjson.loads(args[0])["floor"] == 3
    assert data in args[1:]


def _changes(data: bytes) -> None:
    route: Route | None = None
    for at in range(0, min(len(data), 90) - 2, 3):
        op, one, two = data[at : at + 3]
        before = route
        try:
            after = _step(route, op, one, two)
        except (BadInput, Conflict) as error:
            orjson.dumps(error.body())
            continue
        route = route if after is None else after
        if after is not None and before is not None:
            assert after != before or op % 5 == 1
        if route is not None:
            _sound(route)
            _moved_least(before, route)
    if route is not None:
        _answers(route, data)


def _step(route: Route | None, op: int, one: int, two: int) -> Route | None:
    name = NAMES[one % len(NAMES)]
    if op % 5 == 0:
        return transition.promote(route, "m", name)
    if op % 5 == 1:
        return transition.rollback(route, name if two & 1 else None)
    if op % 5 == 2:
        return transition.fall_back(route, ("auto", "none", *NAMES)[two % 6])
    share = (one * 256 + two) % (BUCKETS + 1) / 100
    if op % 5 == 3:
        return transition.split(route, {name: share, NAMES[two % len(NAMES)]: round(100 - share, 2)}, "salt")
    third = round((100 - share) / 2, 2)
    weights = {NAMES[0]: share, NAMES[1]: third, NAMES[2]: round(100 - share - third, 2)}
    return transition.split(route, weights, "salt")


def _sound(route: Route) -> None:
    assert msgspec.json.decode(msgspec.json.encode(route), type=Route) == route
    if route.weights is None:
        assert route.ranges == ()
        return
    assert abs(sum(route.weights.values()) - 100) < 1e-6
    end = 0
    sizes: dict[str, int] = {}
    for start, stop, version in route.ranges:
        assert start == end < stop, route.ranges
        sizes[version] = sizes.get(version, 0) + stop - start
        end = stop
    assert end == BUCKETS
    assert sizes == {version: round(weight * 100) for version, weight in route.weights.items()}


def _moved_least(before: Route | None, after: Route) -> None:
    """A bucket changes its owner only where its version's share shrank."""
    if before is None or before.weights is None or after.weights is None:
        return
    same = sum(
        max(min(a[1], b[1]) - max(a[0], b[0]), 0) for a in before.ranges for b in after.ranges if a[2] == b[2]
    )
    moved = BUCKETS - same
    have, want = before.weights, after.weights
    due = sum(max(have[v] - want.get(v, 0), 0) for v in have) * 100
    assert moved == round(due), (moved, due)
    assert reassign(before.ranges, after.weights) == after.ranges


def _answers(route: Route, data: bytes) -> None:
    versions = {v: Version(model="m", version=v, digest="0") for v in NAMES}
    state = ModelState(model="m", route=route, replicas=(), desired=dict.fromkeys(NAMES, 1))
    entry = build(state, MappingProxyType(versions), frozenset())
    try:
        choice = choose(entry, None, data[:40].decode("latin-1"), 0.5)
    except (Unavailable, NotFound) as error:
        assert error.code == "no_active_version"
        return
    assert choice.version in route.targets()
