"""Reads for the index and for questions about the past: few round trips for many models; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from router.catalog.addenda import Addenda, Upkeep
from router.catalog.past import is_later
from router.registry import keys
from router.registry.registry import Registry

LOOKED_BACK = 50  # changes of a route, for the one that moved the active version
PAGE = 1_000  # history entries at once


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a model beside its state; `history` are its last changes, oldest first."""

    created: str | None
    addenda: dict[str, Addenda]
    upkeep: Upkeep
    history: list[dict[str, Any]]
    versions: list[str]


async def counted(registry: Registry) -> tuple[int, int]:
    """The stored revision, and the number of models."""
    revision, models = await registry.look(("GET", keys.REVISION), ("HLEN", keys.MODELS))
    return int(revision or 0), int(models)


async def told_of(registry: Registry, models: Sequence[str]) -> list[Told]:
    """Of several models, in one round trip."""
    reads: list[tuple[Any, ...]] = []
    for model in models:
        reads += [
            ("HGET", keys.MODELS, model),
            ("HGETALL", keys.addenda(model)),
            ("LRANGE", keys.history(model), -LOOKED_BACK, -1),
            ("HKEYS", keys.versions(model)),
        ]
    found = await registry.look(*reads)
    return [_told(*found[start : start + 4]) for start in range(0, len(found), 4)]


def _told(created: bytes | None, addenda: list[bytes], history: list[bytes], versions: list[bytes]) -> Told:
    named = dict(zip(addenda[::2], addenda[1::2], strict=True))
    upkeep = named.pop(keys.UPKEEP.encode(), b"{}")
    return Told(
        created=None if created is None else orjson.loads(created).get("created"),
        addenda={name.decode(): msgspec.json.decode(raw, type=Addenda) for name, raw in named.items()},
        upkeep=msgspec.json.decode(upkeep, type=Upkeep),
        history=[orjson.loads(entry) for entry in history],
        versions=[name.decode() for name in versions],
    )


async def entries_at(registry: Registry, models: Sequence[str], at: float) -> Mapping[str, dict[str, Any]]:
    """The last change of each route that was made by then (Unix seconds); models that had none are left out.

    All models together take as many round trips as the longest history has binary digits.
    """
    if not models:
        return {}
    lengths = await registry.look(*(("LLEN", keys.history(model)) for model in models))
    spans = {model: (0, int(length)) for model, length in zip(models, lengths, strict=True)}
    found: dict[str, dict[str, Any]] = {}
    while open_spans := {model: (low + high) // 2 for model, (low, high) in spans.items() if low < high}:
        looked = await registry.look(
            *(("LINDEX", keys.history(model), middle) for model, middle in open_spans.items())
        )
        for (model, middle), raw in zip(open_spans.items(), looked, strict=True):
            entry = orjson.loads(raw)
            if is_later(entry, at):
                spans[model] = (spans[model][0], middle)
            else:
                found[model] = entry
                spans[model] = (middle + 1, spans[model][1])
    return found


async def served_before(registry: Registry, model: str, version: str) -> bool:
    """Whether the history has the version among those that answered; reads it from the newest on."""
    [length] = await registry.look(("LLEN", keys.history(model)))
    while length > 0:
        start = max(0, length - PAGE)
        for entry in await registry.history(model, start, length - start):
            after = entry["after"]
            if after.get("active") == version or version in (after.get("weights") or ()):
                return True
        length = start
    return False
