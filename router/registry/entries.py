"""What every change writes besides: the line of the history and the audit entry; values only, no clock, no I/O."""

from __future__ import annotations

import msgspec
import orjson

from router.documents import Route
from router.registry import audit, keys
from router.registry.audit import Actor
from router.registry.change import Change


def write_route(
    change: Change,
    head: audit.Head,
    now: str,
    actor: Actor,
    action: str,
    before: Route | None,
    after: Route,
    restored: object = None,
) -> None:
    """The route itself, its history and its audit entry; `now` is RFC 3339, `restored` what came back with it."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    history = {
        "epoch": after.epoch,
        "time": now,
        "actor": actor.name,
        "action": action,
        "reason": actor.reason,
        "before": old,
        "after": new,
    }
    change.write("HSET", keys.ROUTES, change.model, msgspec.json.encode(after))
    change.write("RPUSH", keys.history(change.model), orjson.dumps(history))
    write_audit(change, head, now, actor, f"route.{action}", old, new, restored)


def write_audit(
    change: Change,
    head: audit.Head,
    now: str,
    actor: Actor,
    action: str,
    before: object,
    after: object,
    restored: object = None,
) -> None:
    """The audit entry behind `head`, which must still be the last one."""
    stored, new_head = audit.entry(
        head,
        time=now,
        actor=actor,
        action=action,
        object=change.model,
        before=before,
        after=after,
        restored=restored,
    )
    change.expect(keys.HEADS, change.model, head.text() if head.seq else None, "audit head")
    change.write("RPUSH", keys.audit(change.model), stored)
    change.write("HSET", keys.HEADS, change.model, new_head.text())
    change.audited = (new_head, now)


def write_version(change: Change, document: dict[str, object], now: str) -> None:
    """A version document, once and for good, and its model with it."""
    version = str(document["version"])
    change.expect(keys.versions(change.model), version, None, "version")
    change.write("HSET", keys.versions(change.model), version, orjson.dumps(document))
    change.write("HSETNX", keys.MODELS, change.model, orjson.dumps({"created": now}))
