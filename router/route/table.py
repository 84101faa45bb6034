"""The routing table: an immutable picture of who may answer, rebuilt model by model; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from router.access.admission import Admission
from router.documents import ModelState, Replica, Route, Version

REASONS = ("pin", "active", "sticky", "split")


@dataclass(frozen=True, slots=True)
class Target:
    """A deployed version: its contract and the replicas that are ready to take work."""

    version: Version
    replicas: tuple[Replica, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers and why: reason is one of `REASONS`, or `fallback` (design: the words of the log).

    `headers` tell it to the caller, `lines` are the same as they stand in an HTTP head, and `record` are the
    fields of the log's record that say it, as JSON without braces. `fallback` answers where this version cannot.
    """

    target: Target
    version: str
    epoch: int
    reason: str
    headers: tuple[tuple[bytes, bytes], ...]
    lines: bytes
    record: bytes
    fallback: Choice | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in the table. `bounds` and `owners` are the bucket ranges in the form a look-up needs,
    `choices` are all that can come out of one, `sticky_header` is where the sticky key is.

    `known` are the versions that exist, deployed or not, so that a pin to one that does not run is told
    from a pin to one that never was.
    """

    route: Route
    targets: Mapping[str, Target]
    known: frozenset[str]
    bounds: tuple[int, ...] = ()
    owners: tuple[str, ...] = ()
    salt: bytes = b""
    choices: Mapping[tuple[str, str], Choice] = field(default_factory=lambda: MappingProxyType({}))
    sticky_header: bytes | None = None

    def owner(self, bucket: int) -> str:
        """The version that owns a bucket; only where the route has weights."""
        return self.owners[bisect_right(self.bounds, bucket)]


@dataclass(frozen=True, slots=True)
class Table:
    """All models at one revision, and who may ask them."""

    revision: int = 0
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    admission: Admission = field(default_factory=Admission)

    def with_entries(self, revision: int, entries: Mapping[str, Entry]) -> Table:
        """A later table in which only the given models differ."""
        merged = dict(self.entries)
        merged.update(entries)
        return Table(revision, MappingProxyType(merged), self.admission)


def build(
    state: ModelState, versions: Mapping[str, Version], known: frozenset[str], node: str | None = None
) -> Entry:
    """The entry of one model from the documents of the versions it names; `known` are all that exist.

    Unix sockets of other hosts than `node` are left out: they cannot be reached from here.
    """
    route = state.route or Route(model=state.model)
    ready: dict[str, list[Replica]] = {}
    for replica in state.replicas:
        here = node is None or replica.node == node or not replica.address.startswith("unix:")
        if replica.state == "ready" and replica.version in versions and here:
            ready.setdefault(replica.version, []).append(replica)
    names = set(state.desired) | set(ready) | route.targets()
    targets = {name: Target(versions[name], tuple(ready.get(name, ()))) for name in names if name in versions}
    kind, _, name = route.sticky_key.partition(":")
    return Entry(
        route=route,
        targets=MappingProxyType(targets),
        known=known | frozenset(versions),
        bounds=tuple(end for _, end, _ in route.ranges[:-1]),
        owners=tuple(version for _, _, version in route.ranges),
        salt=route.salt.encode(),
        choices=_choices(targets, route),
        sticky_header=name.encode() if kind == "header" else None,
    )


def _choices(targets: Mapping[str, Target], route: Route) -> Mapping[tuple[str, str], Choice]:
    last = {version: _choice(target, route.epoch, "fallback") for version, target in targets.items()}
    found = {}
    for version, target in targets.items():
        other = last.get(fallback_of(route, version) or "")
        for reason in REASONS:
            # Who pins a version wants that one, or to know that it cannot.
            found[version, reason] = _choice(target, route.epoch, reason, None if reason == "pin" else other)
    return MappingProxyType(found)


def fallback_of(route: Route, version: str) -> str | None:
    """The version that answers where `version` cannot; None: nobody."""
    if route.fallback == "none":
        return None
    if route.fallback != "auto":
        other: str | None = route.fallback
    else:
        other = route.previous if version == route.active else route.active
    return None if other == version else other


def _choice(target: Target, epoch: int, reason: str, fallback: Choice | None = None) -> Choice:
    version = target.version.version
    headers = (
        (b"x-model-version", version.encode()),
        (b"x-route-epoch", b"%d" % epoch),
        (b"x-route-reason", reason.encode()),
    )
    told = {
        "model": target.version.model,
        "version": version,
        "digest": target.version.digest,
        "epoch": epoch,
        "reason": reason,
    }
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return Choice(target, version, epoch, reason, headers, lines, orjson.dumps(told)[1:-1], fallback)


def not_ready(before: Entry | None, after: Entry) -> str | None:
    """Why a router must not take `after` yet: a version that joins the route has no ready replica.

    A version that is routed already may lose its replicas without holding back other changes.
    """
    joined = after.route.targets() - (before.route.targets() if before is not None else frozenset())
    cold = sorted(name for name in joined if name not in after.targets or not after.targets[name].replicas)
    if not cold:
        return None
    return f"model {after.route.model}: version {', '.join(cold)} has no ready replica"


def addresses(entries: Iterable[Entry]) -> dict[str, Replica]:
    """Every ready replica by id."""
    return {
        replica.id: replica
        for entry in entries
        for target in entry.targets.values()
        for replica in target.replicas
    }
