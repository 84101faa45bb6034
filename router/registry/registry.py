"""The single source of truth in Redis: each change is one script, with its history and audit entry."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from redis.asyncio import Redis

from router.audit.notary import Notary
from router.clock import rfc3339
from router.documents import ModelState, Replica, Route, RouterLease
from router.errors import Conflict, Unavailable
from router.registry import audit, keys
from router.registry.audit import Actor
from router.registry.change import Change
from router.registry.entries import write_audit, write_route, write_version
from router.registry.reads import Reads, model_state, picture_reads
from router.registry.script import Script

ATTEMPTS = 60  # of one change against others; each lost one lost only to one that won
WAIT_MS = 500  # for a replica of Redis to have a change


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a route change: the revision, and the documents around it.

    `safe`: as many replicas of Redis as were asked for have it, so that a fail-over does not lose it.
    """

    revision: int
    before: Route | None
    after: Route | None
    changed: bool
    safe: bool = True


class Raced(Exception):
    """Somebody else changed what this change rests on; `meaning` names it. Read again and decide again."""

    def __init__(self, meaning: str) -> None:
        super().__init__(meaning)
        self.meaning = meaning


@dataclass(frozen=True, slots=True)
class Picture:
    """All that a change of one model rests on. `stored` is its route as it stands in Redis."""

    state: ModelState
    stored: bytes | None
    head: audit.Head
    highest: int
    behind: bool  # what is stored is older than what somebody has seen


class Registry(Reads):
    """All reads and writes of control state. Raises redis' own errors where Redis does not answer.

    Each change waits for `replicas` replicas of Redis, half a second at most; `unreplicated` counts those that
    waited in vain: they are made, and a fail-over may lose them. With a `notary` each head of an audit chain is
    signed: stored with the change, and kept outside Redis after it.
    """

    def __init__(self, redis: Redis, replicas: int = 0, notary: Notary | None = None) -> None:
        super().__init__(redis)
        self.notary = notary
        self.unreplicated = 0
        self._replicas = replicas
        self._commit = Script(redis, "commit")
        self._acknowledge = Script(redis, "acknowledge")
        self._fence = Script(redis, "fence")

    async def close(self) -> None:
        """Closes the connections, and the notary's file once all heads lie on the disk."""
        await super().close()
        if self.notary is not None:
            await self.notary.synced()
            self.notary.close()

    async def change_route(
        self,
        model: str,
        decide: Callable[[ModelState], Route | None],
        actor: Actor,
        action: str,
    ) -> Committed:
        """Compare-and-set on the route: `decide` gets the present picture and gives the new route or None.

        None means there is nothing to change. `decide` is asked again when somebody was faster; it raises to
        refuse. A target that joins must still be deployed at the commit. A Redis that fell back to an older
        state gets even the present route anew, above all that routers have seen: they take it by no lower
        number. Raises Unavailable `contended` after 60 lost races.
        """
        for attempt in range(ATTEMPTS):
            seen = await self.picture(model)
            before = seen.state.route
            wanted = decide(seen.state)
            if wanted is None and seen.behind:
                wanted = before
            if wanted is None:
                safe = await self._fenced(model, seen.stored)
                if safe is None:
                    continue
                return Committed(before.epoch if before else 0, before, before, changed=False, safe=safe)
            change = Change(model, revision=seen.highest + 1)
            after = msgspec.structs.replace(wanted, epoch=change.revision)
            change.expect(keys.ROUTES, model, seen.stored, "route")
            for version in after.targets() - (before.targets() if before else frozenset()):
                asked = seen.state.desired.get(version)
                change.expect(
                    keys.desired(model), version, None if asked is None else str(asked), "deployment"
                )
            write_route(change, seen.head, rfc3339(time.time()), actor, action, before, after)
            try:
                revision, safe = await self.committed(change)
            except Raced:
                await asyncio.sleep(random.uniform(0, 0.002 * (attempt + 1)))
                continue
            return Committed(revision, before, after, changed=True, safe=safe)
        raise Unavailable(f"model {model}: lost {ATTEMPTS} races against other changes", code="contended")

    async def add_version(self, document: dict[str, Any], actor: Actor) -> int:
        """Stores a version document for good; raises Conflict `version_exists`. Changes no route."""
        model, version = document["model"], document["version"]

        now = rfc3339(time.time())
        document = {**document, "registered": {"time": now, "actor": actor.name}}

        def fill(change: Change, _: Picture) -> None:
            write_version(change, document, now)

        stored = hashlib.sha256(orjson.dumps(document)).hexdigest()
        after = {"version": version, "digest": document["digest"], "document": stored}
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

        def fill(change: Change, seen: Picture) -> None:
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

        def fill(change: Change, seen: Picture) -> None:
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
        return int(await self._acknowledge([keys.ROUTERS, keys.ACKS], [lease.id, rest, lease.revision]))

    async def forget_router(self, router_id: str) -> bool:
        """Takes a router out of the known ones: nobody waits for it any more. False: it was not known."""
        removed = bool(await self.redis.hdel(keys.ROUTERS, router_id))
        await self.redis.publish(keys.ACKS, f"{router_id} 0")
        return removed

    async def commit(self, change: Change) -> int:
        """Applies a change and gives its revision, or raises Raced."""
        return (await self.committed(change))[0]

    async def committed(self, change: Change) -> tuple[int, bool]:
        """The same, and whether as many replicas of Redis as were asked for have it."""
        signed = self._signed(change)
        names, args = change.compiled(self.highest)
        reached = True
        if self._replicas:
            result, reached = await self._commit.awaited(names, args, self._replicas, WAIT_MS)
        else:
            result = await self._commit(names, args)
        if result[0] == b"ok":
            self.unreplicated += not reached
            if signed and self.notary is not None:
                self.notary.keep(signed)
            return self.saw(int(result[1])), reached
        if result[0] == b"revision":
            self.saw(int(result[1]))
            raise Raced("revision")
        raise Raced(change.meaning(int(result[1])))

    def _signed(self, change: Change) -> bytes:
        """The signed head of a change's audit entry, which is written with it."""
        if self.notary is None or change.audited is None:
            return b""
        head, now = change.audited
        line = self.notary.sign(change.model, head.seq, head.hash, now)
        change.write("HSET", keys.SIGNED, change.model, line)
        return line

    async def _fenced(self, model: str, stored: bytes | None) -> bool | None:
        """Whether the route as it is stored is safe; None where another one is stored by now."""
        if not self._replicas or stored is None:
            return True
        same, reached = await self._fence.awaited(
            [keys.ROUTES, keys.FENCE], [model, stored], self._replicas, WAIT_MS
        )
        return reached if same else None

    async def _audited(
        self,
        model: str,
        actor: Actor,
        action: str,
        after: object,
        fill: Callable[[Change, Picture], None],
    ) -> int:
        """Commits what `fill` adds with an audit entry; again where chain or route moved meanwhile."""
        for attempt in range(ATTEMPTS):
            seen = await self.picture(model)
            change = Change(model)
            fill(change, seen)
            write_audit(change, seen.head, rfc3339(time.time()), actor, action, None, after)
            try:
                return await self.commit(change)
            except Raced as raced:
                if raced.meaning == "version":
                    raise
                await asyncio.sleep(random.uniform(0, 0.002 * (attempt + 1)))
        raise Unavailable(f"model {model}: lost {ATTEMPTS} races against other changes", code="contended")

    async def picture(self, model: str) -> Picture:
        """All that a change of one model rests on, in one round trip."""
        seen = self.highest  # before the question: its answer cannot lie below, unless Redis lost something
        route, replicas, desired, head, revision, leases = await self.look(
            *picture_reads(model),
            ("HGET", keys.HEADS, model),
            ("GET", keys.REVISION),
            ("HVALS", keys.ROUTERS),
        )
        stored = self.saw(int(revision or 0))
        highest = max((int(orjson.loads(lease)["highest"]) for lease in leases), default=0)
        return Picture(
            state=model_state(model, route, replicas, desired),
            stored=route,
            head=audit.Head.parse(None if head is None else head.decode()),
            highest=max(stored, highest, self.highest),
            behind=max(seen, highest) > stored,
        )
