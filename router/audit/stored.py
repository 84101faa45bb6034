"""What stands in Redis against what its chain says it is: so a direct write is found; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from router.audit.account import applied, check_routes, check_versions, routes
from router.audit.chain import GENESIS, Chain, Entry, Finding, Verify, check_heads, in_order, sound

ROUTE_FIELDS = ("active", "previous", "weights", "fallback", "epoch")


@dataclass(frozen=True, slots=True)
class Stored:
    """The state beside a chain, as JSON values; `versions` are the documents' own bytes, `head` is `"seq hash"`.

    `keys` are the callers' keys by id, as the chain of keys tells them.
    """

    head: str | None = None
    route: Any = None
    history: list[Any] = field(default_factory=list)
    versions: Mapping[str, bytes] = field(default_factory=dict)
    desired: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)


def check_live(
    chain: Chain, heads: Iterable[object], trusted: Mapping[str, bytes], stored: Stored, verify: Verify
) -> list[Finding]:
    """Chain, signed heads, and the state that the chain gives against the stored one."""
    found = [*chain.findings, *check_heads(chain, heads, trusted, verify)]
    entries = sound(chain, found)
    found += check_routes(entries)
    found += check_versions(entries, stored.versions, everything=True)
    if not found:  # else what stands there has nothing to be held against
        found += [*_head(entries, stored), *_route(entries, stored), *_history(entries, stored)]
        found += [*_versions(entries, stored), *_deployed(entries, stored), *_keys(entries, stored)]
    return in_order(found)


def _head(entries: list[Entry], stored: Stored) -> list[Finding]:
    wanted = f"{entries[-1]['seq']} {entries[-1]['hash']}" if entries else None
    if stored.head == wanted or (wanted is None and stored.head == f"0 {GENESIS}"):
        return []
    return [Finding(None, "head", "the stored head is not the end of the chain")]


def _route(entries: list[Entry], stored: Stored) -> list[Finding]:
    changes = routes(entries)
    wanted = changes[-1]["after"] if changes else None
    if stored.route == wanted:
        return []
    if wanted is None:
        return [Finding(None, "route", "a route is stored that no entry made")]
    seq, is_now = changes[-1]["seq"], stored.route
    if is_now is None:
        return [Finding(seq, "route", f"the route that entry {seq} made is gone")]
    names = sorted(wanted.keys() | is_now.keys(), key=lambda name: (name not in ROUTE_FIELDS, name))
    name = next(name for name in names if wanted.get(name) != is_now.get(name))
    text = f"{name} is {is_now.get(name)!r}, entry {seq} says {wanted.get(name)!r}"
    return [Finding(seq, "route", f"the stored route was changed past the chain: {text[:300]}")]


def _history(entries: list[Entry], stored: Stored) -> list[Finding]:
    changes = routes(entries)
    for entry, line in zip(changes, stored.history, strict=False):
        if line != _line(entry):
            text = f"the history does not tell what entry {entry['seq']} says"
            return [Finding(entry["seq"], "history", text)]
    if len(changes) > len(stored.history):
        seq = changes[len(stored.history)]["seq"]
        return [Finding(seq, "history", f"the history lacks entry {seq} and those behind it")]
    if len(changes) < len(stored.history):
        return [Finding(None, "history", "the history has changes that no entry tells of")]
    return []


def _line(entry: Entry) -> dict[str, Any]:
    """The history's line of an entry."""
    action = str(entry["action"]).removeprefix("route.")
    names = ("time", "actor", "reason", "before", "after")
    return {"epoch": entry["after"]["epoch"], "action": action} | {name: entry[name] for name in names}


def _restored(entries: list[Entry]) -> Iterator[tuple[int, Any]]:
    """What restores wrote back of versions and wishes, with the number of the entry."""
    for entry in applied(entries, "model.restore"):
        yield entry["seq"], entry["after"]
    for entry in applied(entries, "route.restore"):
        yield entry["seq"], entry["restored"]


def _versions(entries: list[Entry], stored: Stored) -> list[Finding]:
    known = {entry["after"]["version"] for entry in applied(entries, "version.register")}
    known.update(name for _, written in _restored(entries) for name in written["versions"])
    added = sorted(stored.versions.keys() - known)
    return [Finding(None, "version", f"version {name} was registered by no entry") for name in added]


def _deployed(entries: list[Entry], stored: Stored) -> list[Finding]:
    wished = [
        (entry["seq"], entry["after"]["version"], entry["after"].get("replicas", 0))
        for action in ("version.deploy", "version.undeploy")
        for entry in applied(entries, action)
    ]
    wished += [(seq, *wish) for seq, written in _restored(entries) for wish in written["deployed"].items()]
    wanted = {version: (number, seq) for seq, version, number in sorted(wished)}
    found = []
    for version in sorted(wanted.keys() | stored.desired.keys()):
        number, seq = wanted.get(version, (0, None))
        if stored.desired.get(version, 0) != number:
            is_now = stored.desired.get(version, 0)
            text = f"{is_now} replicas of version {version} are asked for, the chain says {number}"
            found.append(Finding(seq, "deployment", text))
    return found


def _keys(entries: list[Entry], stored: Stored) -> list[Finding]:
    wanted = {entry["after"]["id"]: entry for entry in applied(entries, "key.")}
    found = []
    for name in sorted(wanted.keys() | stored.keys.keys()):
        if name not in wanted:
            found.append(Finding(None, "key", f"key {name} was made by no entry"))
        elif stored.keys.get(name) != wanted[name]["after"]:
            seq = wanted[name]["seq"]
            found.append(Finding(seq, "key", f"key {name} is not what entry {seq} made it"))
    return found
