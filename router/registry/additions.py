"""What is added to versions and models later: each addition one script, with its line and its audit entry."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import orjson

from router.catalog.addenda import Addenda, Upkeep
from router.clock import rfc3339
from router.errors import Unavailable
from router.registry import audit, keys
from router.registry.audit import Actor
from router.registry.change import Change
from router.registry.entries import write_audit
from router.registry.registry import ATTEMPTS, Raced, Registry

Kind = TypeVar("Kind", Addenda, Upkeep)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an addition: what there is now; `revision` 0 where nothing was changed."""

    value: Any
    revision: int


async def add(
    registry: Registry,
    model: str,
    version: str | None,
    kind: type[Kind],
    decide: Callable[[Kind, str], Kind | None],
    actor: Actor,
    action: str,
) -> Added:
    """Compare-and-set on what was added to a version, or (None) to its model.

    `decide` gets what there is and the time, and gives what there shall be, or None for no change; it is asked
    again when somebody was faster, and raises to refuse. Raises redis' own errors, Unavailable `contended`.
    """
    field = keys.UPKEEP if version is None else version
    for attempt in range(ATTEMPTS):
        stored, head = await registry.look(("HGET", keys.addenda(model), field), ("HGET", keys.HEADS, model))
        now = rfc3339(time.time())
        before = kind() if stored is None else msgspec.json.decode(stored, type=kind)
        after = decide(before, now)
        if after is None:
            return Added(before, 0)
        change = Change(model)
        change.expect(keys.addenda(model), field, stored, "addenda")
        change.write("HSET", keys.addenda(model), field, msgspec.json.encode(after))
        old, new = _difference(before, after, version)
        line = {
            "time": now,
            "actor": actor.name,
            "action": action,
            "version": version,
            "reason": actor.reason,
        }
        change.write("RPUSH", keys.additions(model), orjson.dumps(line | {"before": old, "after": new}))
        parsed = audit.Head.parse(None if head is None else head.decode())
        write_audit(change, parsed, now, actor, action, old, new)
        try:
            return Added(after, await registry.commit(change))
        except Raced:
            await asyncio.sleep(random.uniform(0, 0.002 * (attempt + 1)))
    raise Unavailable(f"model {model}: lost {ATTEMPTS} races against other changes", code="contended")


async def additions(registry: Registry, model: str, start: int, limit: int) -> list[dict[str, Any]]:
    """Changes of what was added, oldest first, from position `start`."""
    [found] = await registry.look(("LRANGE", keys.additions(model), start, start + limit - 1))
    return [orjson.loads(item) for item in found]


async def addenda_of(registry: Registry, model: str, versions: list[str]) -> list[Addenda]:
    """What was added to each of the versions."""
    found = await registry.look(*(("HGET", keys.addenda(model), version) for version in versions))
    return [Addenda() if item is None else msgspec.json.decode(item, type=Addenda) for item in found]


def _difference(before: Kind, after: Kind, version: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that differ, before and after; of notes, which only grow, the new ones."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    if len(new.get("notes", ())) != len(old.get("notes", ())):
        new["notes"] = new["notes"][len(old["notes"]) :]
        old["notes"] = []
    changed = [name for name in new if old.get(name) != new[name]]
    named = {} if version is None else {"version": version}
    return named | {name: old.get(name) for name in changed}, named | {name: new[name] for name in changed}
