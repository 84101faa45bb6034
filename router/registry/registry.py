"""The single source of truth in Redis: each change is one script, with its history and audit entry."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from redis.asyncio import Redis

from router.clock import rfc3339
from router.documents import ModelState, Replica, Route, RouterLease
from router.errors import Conflict, Unavailable
from router.registry import audit, keys
from router.registry.audit import Actor
from router.registry.change import Change
from router.registry.reads import Reads, model_state, script

ATTEMPTS = 60  # of one change against others; each lost one lost only to one that won


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a route change: the revision, and the documents around it."""

    revision: int
    before: Route | None
    after: Route | None
    changed: bool


class Raced(Exception):
    """Somebody else changed what this change rests on; `meaning` names it. Read again and decide again."""

    def __init__(self, meaning: str) -> None:
        super().__init__(meaning)
        self.meaning = meaning


@dataclass(frozen=True, slots=True)
class _Picture:
    state: ModelState
    stored: bytes | None
    head: audit.Head
    highest: int


class Registry(Reads):
    """All reads and writes of control state. Raises redis' own errors where Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self._commit = script(redis, "commit")
        self._acknowledge = script(redis, "acknowledge")

    async def change_route(
        self,
        model: str,
        decide: Callable[[ModelState], Route | None],
        actor: Actor,
        action: str,
    ) -> Committed:
        """Compare-and-set on the route: `decide` gets the present picture and gives the new route or None.

        None means there is nothing to change. `decide` is asked again when somebody was faster; it raises to
        refuse. A target that joins must still be deployed at the commit. Raises Unavailable `contended`
        after 60 lost races.
        """
        for attempt in range(ATTEMPTS):
            seen = await self._picture(model)
            before = seen.state.route
            wanted = decide(seen.state)
            if wanted is None:
                return Committed(before.epoch if before else 0, before, before, changed=False)
            change = Change(model, revision=seen.highest + 1)
            after = msgspec.structs.replace(wanted, epoch=change.revision)
            change.expect(keys.ROUTES, model, seen.stored, "route")
            for version in after.targets() - (before.targets() if before else frozenset()):
                asked = seen.state.desired.get(version)
                change.expect(
                    keys.desired(model), version, None if asked is None else str(asked), "deployment"
                )
            _write_route(change, seen.head, actor, action, before, after)
            try:
                revision = await self.commit(change)
            except Raced:
                await asyncio.sleep(random.uniform(0, 0.002 * (attempt + 1)))
                continue
            return Committed(revision, before, after, changed=True)
        raise Unavailable(f"model {model}: lost {ATTEMPTS} races against other changes", code="contended")

    async def add_version(self, document: dict[str, Any], actor: Actor) -> int:
        """Stores a version document for good; raises Conflict `version_exists`. Changes no route."""
        model, version = document["model"], document["version"]

        def fill(change: Change, _: _Picture) -> None:
            change.expect(keys.versions(model), version, None, "version")
            change.write("HSET", keys.versions(model), version, orjson.dumps(document))
            change.write("HSETNX", keys.MODELS, model, orjson.dumps({"created": rfc3339(time.time())}))

        after = {"version": version, "digest": document["digest"]}
        try:
            return await self._audited(model, actor, "version.register", after, fill)
        except Raced as raced:
            raise Conflict(
                f"model {model} already has a version {version}; versions are never overwritten",
                code="version_exists",
                field="version",
            ) from raced

    async def deploy(self, model: str, version: str, replicas: int, actor: Actor) -> int:
        """Asks for `replicas` (≥ 1) running processes of a version."""

        def fill(change: Change, seen: _Picture) -> None:
            change.write("HSET", keys.desired(model), version, str(replicas))
            # A replica that was given up is forgotten: to ask again is to try again.
            for replica in seen.state.replicas:
                if replica.version == version and replica.state == "failed":
                    change.write("HDEL", keys.replicas(model), replica.id)

        after = {"version": version, "replicas": replicas}
        return await self._audited(model, actor, "version.deploy", after, fill)

    async def undeploy(
        self, model: str, version: str, actor: Actor, allow: Callable[[ModelState], None]
    ) -> int:
        """Asks for no process of a version; `allow` raises where the present route forbids it."""

        def fill(change: Change, seen: _Picture) -> None:
            allow(seen.state)
            change.expect(keys.ROUTES, model, seen.stored, "route")
            change.write("HDEL", keys.desired(model), version)

        return await self._audited(model, actor, "version.undeploy", {"version": version}, fill)

    async def put_replica(self, replica: Replica) -> int:
        """Adds or updates a replica; raises the revision so that every router learns of it."""
        change = Change(replica.model)
        change.write("HSET", keys.replicas(replica.model), replica.id, msgspec.json.encode(replica))
        return await self.commit(change)

    async def drop_replica(self, model: str, replica_id: str) -> int:
        """Removes a replica; raises the revision."""
        change = Change(model)
        change.write("HDEL", keys.replicas(model), replica_id)
        return await self.commit(change)

    async def acknowledge(self, lease: RouterLease) -> int:
        """Stores a router's lease, stamped by Redis; gives Redis' clock in ms."""
        body = msgspec.to_builtins(lease)
        del body["seen"]
        rest = orjson.dumps(body)[1:]
        return int(
            await self._acknowledge(keys=[keys.ROUTERS, keys.ACKS], args=[lease.id, rest, lease.revision])
        )

    async def forget_router(self, router_id: str) -> bool:
        """Takes a router out of the known ones: nobody waits for it any more. False: it was not known."""
        removed = bool(await self.redis.hdel(keys.ROUTERS, router_id))
        await self.redis.publish(keys.ACKS, f"{router_id} 0")
        return removed

    async def commit(self, change: Change) -> int:
        """Applies a change and gives its revision, or raises Raced."""
        names, args = change.compiled()
        result = await self._commit(keys=names, args=args)
        if result[0] == b"ok":
            return int(result[1])
        if result[0] == b"revision":
            raise Raced("revision")
        raise Raced(change.meaning(int(result[1])))

    async def _audited(
        self,
        model: str,
        actor: Actor,
        action: str,
        after: object,
        fill: Callable[[Change, _Picture], None],
    ) -> int:
        """Commits what `fill` adds with an audit entry; again where chain or route moved meanwhile."""
        for attempt in range(ATTEMPTS):
            seen = await self._picture(model)
            change = Change(model)
            fill(change, seen)
            _write_audit(change, seen.head, rfc3339(time.time()), actor, action, None, after)
            try:
                return await self.commit(change)
            except Raced as raced:
                if raced.meaning == "version":
                    raise
                await asyncio.sleep(random.uniform(0, 0.002 * (attempt + 1)))
        raise Unavailable(f"model {model}: lost {ATTEMPTS} races against other changes", code="contended")

    async def _picture(self, model: str) -> _Picture:
        """All that a change of one model rests on, in one round trip."""
        pipeline = self.redis.pipeline(transaction=True)
        pipeline.hget(keys.ROUTES, model)
        pipeline.hvals(keys.replicas(model))
        pipeline.hgetall(keys.desired(model))
        pipeline.hget(keys.HEADS, model)
        pipeline.get(keys.REVISION)
        pipeline.hvals(keys.ROUTERS)
        route, replicas, desired, head, revision, leases = await pipeline.execute()
        highest = max((int(orjson.loads(lease)["highest"]) for lease in leases), default=0)
        return _Picture(
            state=model_state(model, route or b"", replicas, desired),
            stored=route,
            head=audit.Head.parse(None if head is None else head.decode()),
            highest=max(int(revision or 0), highest),
        )


def _write_route(
    change: Change, head: audit.Head, actor: Actor, action: str, before: Route | None, after: Route
) -> None:
    now = rfc3339(time.time())
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
    _write_audit(change, head, now, actor, f"route.{action}", old, new)


def _write_audit(
    change: Change, head: audit.Head, now: str, actor: Actor, action: str, before: object, after: object
) -> None:
    stored, new_head = audit.entry(
        head, time=now, actor=actor, action=action, object=change.model, before=before, after=after
    )
    change.expect(keys.HEADS, change.model, head.text() if head.seq else None, "audit head")
    change.write("RPUSH", keys.audit(change.model), stored)
    change.write("HSET", keys.HEADS, change.model, new_head.text())
