"""Gives a Redis that lost changes back what a host still knows: versions, wishes, routes; takes nothing away.

A flush, a restored backup or a fail-over to a replica that was behind loses changes that routers still serve by.
Only what Redis lacks, or has in an older form, is written, each model as one change above all that anybody saw.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from router.clock import rfc3339
from router.documents import ModelState
from router.errors import Unavailable
from router.registry import keys
from router.registry.audit import Actor
from router.registry.change import Change
from router.registry.entries import write_audit, write_route, write_version
from router.registry.registry import ATTEMPTS, Raced, Registry


@dataclass(frozen=True, slots=True)
class Known:
    """What a host knows of a model: its state (replicas do not count), and the version documents it has."""

    state: ModelState
    documents: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a model: the revision (0: nothing was missing), and what was written.

    `missing` are versions that the route names and nobody here can describe: then the route is left as it is.
    """

    model: str
    revision: int = 0
    versions: tuple[str, ...] = ()
    deployed: tuple[str, ...] = ()
    route: bool = False
    missing: tuple[str, ...] = ()


async def restore(registry: Registry, known: Known, actor: Actor) -> Restored:
    """Brings one model back. Raises redis' own errors, and Unavailable `contended` after 60 lost races."""
    model = known.state.model
    for attempt in range(ATTEMPTS):
        seen = await registry.picture(model)
        stored = await registry.versions(model)
        lacking = {each["version"]: each for each in known.documents if each["version"] not in stored}
        have = stored.keys() | lacking.keys()
        wishes = {v: n for v, n in known.state.desired.items() if v in have and v not in seen.state.desired}
        route, before = known.state.route, seen.state.route
        older = route is not None and (before.epoch if before else 0) < route.epoch
        missing = tuple(sorted(route.targets() - have)) if older and route else ()
        older = older and not missing
        if not (lacking or wishes or older):
            return Restored(model, missing=missing)
        change = Change(model, revision=seen.highest + 1)
        now = rfc3339(time.time())
        for document in lacking.values():
            write_version(change, document, now)
        for version, number in wishes.items():
            change.expect(keys.desired(model), version, None, "deployment")
            change.write("HSET", keys.desired(model), version, str(number))
        change.expect(keys.ROUTES, model, seen.stored, "route")
        written: Mapping[str, object] = {"versions": sorted(lacking), "deployed": wishes}
        if older and route is not None:
            after = replace(route, epoch=change.revision)
            write_route(change, seen.head, now, actor, "restore", before, after, written)
        else:
            write_audit(change, seen.head, now, actor, "model.restore", None, written)
        try:
            revision = await registry.commit(change)
        except Raced:
            await asyncio.sleep(random.uniform(0, 0.002 * (attempt + 1)))
            continue
        return Restored(model, revision, tuple(sorted(lacking)), tuple(sorted(wishes)), older, missing)
    raise Unavailable(f"model {model}: lost {ATTEMPTS} races against other changes", code="contended")
