"""The reads of the registry: each answers with one consistent picture; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

import msgspec
import orjson
from redis.asyncio import Redis

from router.documents import ModelState, Replica, Route, RouterLease
from router.registry import keys

PAGE = 500


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed after a revision; `complete` is false where the page was full: read on from `revision`.

    `version_counts` says how many versions each of the models has: none is ever removed, so an equal number
    means equal names.
    """

    revision: int
    models: tuple[ModelState, ...]
    complete: bool
    version_counts: dict[str, int]


def script(redis: Redis, name: str) -> Any:
    """One of this room's Lua scripts, called by its digest and loaded when Redis does not know it."""
    return redis.register_script(files("router.registry").joinpath(f"{name}.lua").read_bytes())


class Reads:
    """What may be asked of the registry. Raises redis' own errors where Redis does not answer."""

    def __init__(self, redis: Redis) -> None:
        # redis-py types its commands as sync-or-async unions; awaiting those needs Any.
        self.redis: Any = redis
        self._read = script(redis, "read")

    async def close(self) -> None:
        """Closes the connections."""
        await self.redis.aclose()

    async def revision(self) -> int:
        """The stored revision; 0 in an empty installation."""
        return int(await self.redis.get(keys.REVISION) or 0)

    async def read_since(self, since: int) -> Changes:
        """Every model changed after `since`, at most 500 of them, oldest change first, in one picture."""
        found = await self._read(
            keys=[keys.REVISION, keys.CHANGES, keys.ROUTES],
            args=[since, PAGE, keys.replicas(""), keys.desired(""), keys.versions("")],
        )
        rows = found[1:]
        models = tuple(
            model_state(name.decode(), route, replicas, dict(zip(wanted[::2], wanted[1::2], strict=True)))
            for name, _, route, replicas, wanted, _ in rows
        )
        complete = len(rows) < PAGE
        revision = int(found[0]) if complete else int(float(rows[-1][1]))
        return Changes(revision, models, complete, {row[0].decode(): row[5] for row in rows})

    async def models(self) -> list[str]:
        """The names of all models, sorted."""
        return sorted(name.decode() for name in await self.redis.hkeys(keys.MODELS))

    async def model_state(self, model: str) -> ModelState:
        """Route, replicas and wishes of one model (route None where nothing was ever promoted)."""
        return (await self.model_states([model]))[0]

    async def model_states(self, models: list[str]) -> list[ModelState]:
        """The same for several models in one round trip."""
        pipeline = self.redis.pipeline(transaction=True)
        for model in models:
            pipeline.hget(keys.ROUTES, model)
            pipeline.hvals(keys.replicas(model))
            pipeline.hgetall(keys.desired(model))
        found = await pipeline.execute()
        return [
            model_state(model, route or b"", replicas, desired)
            for model, route, replicas, desired in zip(
                models, found[::3], found[1::3], found[2::3], strict=True
            )
        ]

    async def exists(self, model: str) -> bool:
        """Whether the model has ever had a version."""
        return bool(await self.redis.hexists(keys.MODELS, model))

    async def versions(self, model: str) -> dict[str, dict[str, Any]]:
        """The version documents of a model, by version."""
        found = await self.redis.hgetall(keys.versions(model))
        return {name.decode(): orjson.loads(document) for name, document in found.items()}

    async def version(self, model: str, version: str) -> dict[str, Any] | None:
        """One version document, or None."""
        found = await self.redis.hget(keys.versions(model), version)
        return None if found is None else cast(dict[str, Any], orjson.loads(found))

    async def version_names(self, models: list[str]) -> dict[str, frozenset[str]]:
        """The names of all versions of each model, in one round trip."""
        pipeline = self.redis.pipeline(transaction=False)
        for model in models:
            pipeline.hkeys(keys.versions(model))
        found = await pipeline.execute()
        return {
            model: frozenset(name.decode() for name in names)
            for model, names in zip(models, found, strict=True)
        }

    async def version_documents(self, wanted: list[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Raw documents of several versions in one round trip; those that do not exist are left out."""
        if not wanted:
            return {}
        pipeline = self.redis.pipeline(transaction=False)
        for model, version in wanted:
            pipeline.hget(keys.versions(model), version)
        found = await pipeline.execute()
        return {key: document for key, document in zip(wanted, found, strict=True) if document is not None}

    async def routers(self) -> tuple[int, list[RouterLease]]:
        """Redis' clock in ms, and every known router, also those whose lease has lapsed."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.hvals(keys.ROUTERS)
        (seconds, micros), found = await pipeline.execute()
        leases = [msgspec.json.decode(item, type=RouterLease) for item in found]
        return seconds * 1000 + micros // 1000, sorted(leases, key=lambda lease: lease.id)

    async def history(self, model: str, start: int, limit: int) -> list[dict[str, Any]]:
        """Route changes, oldest first, from position `start`."""
        found = await self.redis.lrange(keys.history(model), start, start + limit - 1)
        return [orjson.loads(item) for item in found]

    async def audit_chain(self, model: str) -> list[dict[str, Any]]:
        """The model's whole audit chain, oldest first."""
        return [orjson.loads(item) for item in await self.redis.lrange(keys.audit(model), 0, -1)]


def model_state(model: str, route: bytes, replicas: list[bytes], desired: dict[bytes, bytes]) -> ModelState:
    """A picture from its stored parts; an empty `route` means there is none."""
    found = (msgspec.json.decode(item, type=Replica) for item in replicas)
    return ModelState(
        model=model,
        route=msgspec.json.decode(route, type=Route) if route else None,
        replicas=tuple(sorted(found, key=lambda replica: replica.id)),
        desired={name.decode(): int(number) for name, number in desired.items()},
    )
