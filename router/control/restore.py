"""`POST /registry/restore`: writes back into Redis what this host's files still know; takes nothing away."""

from __future__ import annotations

import asyncio
from pathlib import Path as File
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.key import Key
from router.control.answer import answer
from router.control.away import answering
from router.control.body import Restore, only, read_form
from router.control.plane import actor_of, plane_of
from router.documents import ModelState
from router.errors import Conflict
from router.registry.keyring import restore_keys
from router.registry.restore import Known, Restored, restore
from router.route import snapshot as last_good

TABLE = "table.json"
DESIRED = "desired.json"


class Wished(msgspec.Struct):
    """What of the agent's note is read here."""

    desired: dict[str, dict[str, int]] = {}
    documents: list[dict[str, Any]] = []


async def restore_registry(request: Request) -> Response:
    """Each model that Redis lacks, or has in an older form, as one change; what was there already stays."""
    plane, form = plane_of(request), await read_form(request, Restore)
    only(request)
    revision, known, keys = await asyncio.to_thread(known_here, plane.settings.data_dir)
    plane.registry.saw(revision)  # what is written lies above it, also where no router has reported yet
    found: list[Restored] = []
    for each in known:
        async with answering() as sent:
            sent.maybe = True
            found.append(await restore(plane.registry, each, actor_of(request, form.reason)))
    async with answering() as sent:
        sent.maybe = True
        back = await restore_keys(plane.registry, keys, actor_of(request, form.reason))
    written = [each for each in found if each.revision]
    incomplete = [{"model": each.model, "missing": each.missing} for each in found if each.missing]
    return answer({"models": len(found), "restored": written, "incomplete": incomplete, "keys": len(back)})


def known_here(data_dir: File) -> tuple[int, list[Known], dict[str, Key]]:
    """The revision, the models and the keys of the routers' last good table, with the agent's wishes.

    Raises Conflict `nothing_known` without a table.
    """
    table = last_good.load(data_dir / TABLE)
    if table is None:
        raise Conflict("this host has no last good table to restore from", code="nothing_known")
    try:
        wished = msgspec.json.decode((data_dir / DESIRED).read_bytes(), type=Wished)
    except (OSError, ValueError):  # without wishes what is routed is restored all the same
        wished = Wished()
    desired, documents = wished.desired, wished.documents
    states = {state.model: state for state in table.models}
    for model in desired.keys() - states.keys():
        states[model] = ModelState(model=model, route=None, replicas=(), desired={})
    models = [
        Known(
            msgspec.structs.replace(state, desired=state.desired | desired.get(model, {})),
            [each for each in documents if each["model"] == model],
        )
        for model, state in sorted(states.items())
    ]
    return table.revision, models, {key.id: key for key in table.keys}


PATHS = [Path("/registry/restore", restore_registry, methods=["POST"])]
