"""Changes of callers' keys: each one script with its audit entry, above all revisions that anybody saw."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
import orjson

from router.access.key import MOST, Key
from router.clock import rfc3339
from router.errors import Conflict, Unavailable
from router.registry import audit, keys
from router.registry.audit import Actor
from router.registry.change import Change
from router.registry.entries import write_audit
from router.registry.reads import stored_keys
from router.registry.registry import ATTEMPTS, Raced, Registry

Decide = Callable[[Mapping[str, Key]], Key | None]
"""All present keys by id, to the one as it is to be; None: nothing to change. It raises to refuse."""


@dataclass(frozen=True, slots=True)
class Turned:
    """What became of a change of a key: it as it is now (None: nothing was changed)."""

    key: Key | None
    revision: int
    safe: bool = True


async def change_key(registry: Registry, decide: Decide, actor: Actor, action: str) -> Turned:
    """Compare-and-set on the chain of all keys, so that `decide` judged by what still holds at the commit.

    Raises redis' own errors, and Unavailable `contended` after 60 lost races.
    """
    for attempt in range(ATTEMPTS):
        present, head, highest = await _picture(registry)
        wanted = decide(present)
        if wanted is None:
            return Turned(None, max((key.revision for key in present.values()), default=0))
        change = Change(keys.KEYRING, revision=highest + 1)
        after = msgspec.structs.replace(wanted, revision=change.revision)
        before = present.get(after.id)
        _write(change, head, actor, action, before, after)
        try:
            revision, safe = await registry.committed(change)
        except Raced:
            await asyncio.sleep(random.uniform(0, 0.002 * (attempt + 1)))
            continue
        return Turned(after, revision, safe)
    raise Unavailable(f"keys: lost {ATTEMPTS} races against other changes", code="contended")


async def restore_keys(registry: Registry, known: Mapping[str, Key], actor: Actor) -> tuple[str, ...]:
    """Writes back the keys that Redis lacks, or has in an older form; their ids, without `pm_`."""
    written: list[str] = []
    for key in sorted(known.values(), key=lambda key: key.id):

        def older(present: Mapping[str, Key], key: Key = key) -> Key | None:
            stored = present.get(key.id)
            return key if stored is None or stored.revision < key.revision else None

        if (await change_key(registry, older, actor, "restore")).key is not None:
            written.append(key.id)
    return tuple(written)


def new_name(present: Mapping[str, Key], name: str, now: float) -> None:
    """Raises Conflict where a key of this name still counts, or there are as many as there may be."""
    if len(present) >= MOST:
        text = f"there are {len(present)} keys, revoked ones too: no more can be made"
        raise Conflict(text, code="too_many_keys")
    if any(key.name == name and key.state(now) == "active" for key in present.values()):
        raise Conflict(
            f"there is a key {name}: rotate it, or revoke it first", code="key_exists", field="name"
        )


async def _picture(registry: Registry) -> tuple[dict[str, Key], audit.Head, int]:
    """All keys, the end of their chain, and the highest revision anybody saw; one round trip."""
    stored, head, revision, leases = await registry.look(
        ("HVALS", keys.KEYS),
        ("HGET", keys.HEADS, keys.KEYRING),
        ("GET", keys.REVISION),
        ("HVALS", keys.ROUTERS),
    )
    seen = registry.saw(int(revision or 0))
    highest = max((int(orjson.loads(lease)["highest"]) for lease in leases), default=0)
    present = {key.id: key for key in stored_keys(stored)}
    return (
        present,
        audit.Head.parse(None if head is None else head.decode()),
        max(seen, highest, registry.highest),
    )


def _write(
    change: Change, head: audit.Head, actor: Actor, action: str, before: Key | None, after: Key
) -> None:
    change.write("HSET", keys.KEYS, after.id, msgspec.json.encode(after))
    write_audit(change, head, rfc3339(time.time()), actor, f"key.{action}", _told(before), _told(after))


def _told(key: Key | None) -> object:
    """A key as the audit has it: without any digest, which is nobody's business there."""
    if key is None:
        return None
    document: object = msgspec.to_builtins(key.document(0.0))
    return document
