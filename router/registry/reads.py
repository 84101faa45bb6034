"""The reads of the registry: each answers with one consistent picture; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec
import orjson
from redis.asyncio import Redis

from router.access.key import Key
from router.documents import ModelState, Replica, Route, RouterLease
from router.registry import keys
from router.registry.connection import close
from router.registry.script import Script

PAGE = 500


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed after a revision; `complete` is false where the page was full: read on from `revision`.

    `version_counts` says how many versions each of the models has: none is ever removed, so an equal number
    means equal names. `keys` are all keys of callers, None where none of them changed.
    """

    revision: int
    models: tuple[ModelState, ...]
    complete: bool
    version_counts: dict[str, int]
    keys: tuple[Key, ...] | None = None

    def followed_by(self, more: Changes) -> Changes:
        """This page and the next as one; a model that changed in between counts as it is in the later."""
        later = {state.model for state in more.models}
        models = (*(state for state in self.models if state.model not in later), *more.models)
        counts = self.version_counts | more.version_counts
        caller_keys = self.keys if more.keys is None else more.keys
        return Changes(more.revision, models, more.complete, counts, caller_keys)


class Reads:
    """What may be asked of the registry. Raises redis' own errors where Redis does not answer.

    `highest` is the highest revision this process ever saw: a Redis that shows a lower one has lost changes.
    """

    def __init__(self, redis: Redis) -> None:
        # redis-py types its commands as sync-or-async unions; awaiting those needs Any.
        self.redis: Any = redis
        self.highest = 0
        self._read = Script(redis, "read")
        self._look = Script(redis, "look")

    async def close(self) -> None:
        """Closes the connections."""
        await close(self.redis)

    async def look(self, *reads: tuple[str, str | None, *tuple[str | int, ...]]) -> list[Any]:
        """The replies to several reads `(command, key or None, argument…)` as one picture, in one round trip."""
        named = [keys.REVISION, *dict.fromkeys(read[1] for read in reads if read[1] is not None)]
        at = {key: number for number, key in enumerate(named, start=1)}
        plan = [(command, 0 if key is None else at[key], *map(str, rest)) for command, key, *rest in reads]
        return cast(list[Any], await self._look(named, [orjson.dumps(plan)]))

    async def revision(self) -> int:
        """The stored revision; 0 in an empty installation."""
        return self.saw(int(await self.redis.get(keys.REVISION) or 0))

    async def server(self, section: str) -> dict[str, str]:
        """A section of what the server that holds the control state tells of itself (`INFO`)."""
        [told] = await self.look(("INFO", None, section))
        lines = (line.partition(":") for line in told.decode().splitlines() if not line.startswith("#"))
        return {name: value for name, mark, value in lines if mark}

    def saw(self, revision: int) -> int:
        """Notes a revision that somebody had seen; gives it."""
        self.highest = max(self.highest, revision)
        return revision

    async def read_since(self, since: int) -> Changes:
        """Every model changed after `since`, at most 500 of them, oldest change first, in one picture."""
        found = await self._read(
            [keys.REVISION, keys.CHANGES, keys.ROUTES, keys.KEYS],
            [since, PAGE, keys.replicas(""), keys.desired(""), keys.versions(""), keys.KEYRING],
        )
        self.saw(int(found[0]))
        rows = found[1:]
        ring = keys.KEYRING.encode()
        caller_keys = next((stored_keys(row[3]) for row in rows if row[0] == ring), None)
        models = tuple(
            model_state(name.decode(), route, replicas, wanted)
            for name, _, route, replicas, wanted, _ in rows
            if name != ring
        )
        complete = len(rows) < PAGE
        revision = int(found[0]) if complete else int(float(rows[-1][1]))
        counts = {row[0].decode(): row[5] for row in rows if row[0] != ring}
        return Changes(revision, models, complete, counts, caller_keys)

    async def models(self) -> list[str]:
        """The names of all models, sorted."""
        return sorted(name.decode() for name in await self.redis.hkeys(keys.MODELS))

    async def model_state(self, model: str) -> ModelState:
        """Route, replicas and wishes of one model (route None where nothing was ever promoted)."""
        return (await self.model_states([model]))[0]

    async def model_states(self, models: list[str]) -> list[ModelState]:
        """The same for several models in one round trip."""
        found = await self.look(*(read for model in models for read in picture_reads(model)))
        return [
            model_state(model, route, replicas, desired)
            for model, route, replicas, desired in zip(
                models, found[::3], found[1::3], found[2::3], strict=True
            )
        ]

    async def exists(self, model: str) -> bool:
        """Whether the model has ever had a version."""
        return bool(await self.redis.hexists(keys.MODELS, model))

    async def created(self, model: str) -> str | None:
        """When the model's first version was registered, RFC 3339."""
        found = await self.redis.hget(keys.MODELS, model)
        return None if found is None else cast(str | None, orjson.loads(found).get("created"))

    async def versions(self, model: str) -> dict[str, dict[str, Any]]:
        """The version documents of a model, by version."""
        found = await self.redis.hgetall(keys.versions(model))
        return {name.decode(): orjson.loads(document) for name, document in found.items()}

    async def raw_versions(self, model: str) -> list[bytes]:
        """The version documents of a model as they are stored."""
        return cast(list[bytes], await self.redis.hvals(keys.versions(model)))

    async def version(self, model: str, version: str) -> dict[str, Any] | None:
        """One version document, or None."""
        found = await self.redis.hget(keys.versions(model), version)
        return None if found is None else cast(dict[str, Any], orjson.loads(found))

    async def version_names(self, models: list[str]) -> dict[str, frozenset[str]]:
        """The names of all versions of each model, in one round trip."""
        found = await self.look(*(("HKEYS", keys.versions(model)) for model in models))
        return {
            model: frozenset(name.decode() for name in names)
            for model, names in zip(models, found, strict=True)
        }

    async def version_documents(self, wanted: list[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Raw documents of several versions in one round trip; those that do not exist are left out."""
        if not wanted:
            return {}
        found = await self.look(*(("HGET", keys.versions(model), version) for model, version in wanted))
        return {key: document for key, document in zip(wanted, found, strict=True) if document is not None}

    async def routers(self) -> tuple[int, list[RouterLease]]:
        """Redis' clock in ms, and every known router, also those whose lease has lapsed."""
        return (await self.standing())[1:]

    async def standing(self) -> tuple[int, int, list[RouterLease]]:
        """The stored revision with the same, as one picture."""
        revision, (seconds, micros), found = await self.look(
            ("GET", keys.REVISION), ("TIME", None), ("HVALS", keys.ROUTERS)
        )
        leases = [msgspec.json.decode(item, type=RouterLease) for item in found]
        now = int(seconds) * 1000 + int(micros) // 1000
        return self.saw(int(revision or 0)), now, sorted(leases, key=lambda lease: lease.id)

    async def caller_keys(self) -> tuple[Key, ...]:
        """Every key of a caller, also those that ended."""
        return stored_keys(await self.redis.hvals(keys.KEYS))

    async def caller_key(self, key_id: str) -> Key | None:
        """One of them."""
        found = await self.redis.hget(keys.KEYS, key_id)
        return None if found is None else msgspec.json.decode(found, type=Key)

    async def history(self, model: str, start: int, limit: int) -> list[dict[str, Any]]:
        """Route changes, oldest first, from position `start`."""
        found = await self.redis.lrange(keys.history(model), start, start + limit - 1)
        return [orjson.loads(item) for item in found]

    async def audit_chain(self, model: str) -> list[dict[str, Any]]:
        """The model's whole audit chain, oldest first."""
        return [orjson.loads(item) for item in await self.redis.lrange(keys.audit(model), 0, -1)]


def stored_keys(found: list[bytes]) -> tuple[Key, ...]:
    """Keys from their stored form, the oldest first."""
    decoded = (msgspec.json.decode(item, type=Key) for item in found)
    return tuple(sorted(decoded, key=lambda key: (key.created, key.id)))


def picture_reads(model: str) -> tuple[tuple[str, str, *tuple[str, ...]], ...]:
    """The three reads that `model_state` is made of."""
    return (
        ("HGET", keys.ROUTES, model),
        ("HVALS", keys.replicas(model)),
        ("HGETALL", keys.desired(model)),
    )


def model_state(model: str, route: bytes | None, replicas: list[bytes], desired: list[bytes]) -> ModelState:
    """A picture from the replies to its reads; an empty `route` means there is none."""
    found = (msgspec.json.decode(item, type=Replica) for item in replicas)
    return ModelState(
        model=model,
        route=msgspec.json.decode(route, type=Route) if route else None,
        replicas=tuple(sorted(found, key=lambda replica: replica.id)),
        desired={
            name.decode(): int(number) for name, number in zip(desired[::2], desired[1::2], strict=True)
        },
    )
