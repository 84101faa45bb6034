"""All models and versions over HTTP: the search, the inventory, and what was active at a time; changes nothing."""

from __future__ import annotations

import time

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.roles import Verb
from router.catalog.past import answering as answered_by
from router.catalog.past import state_of
from router.catalog.query import parse
from router.catalog.shelf import care, found_version
from router.clock import rfc3339
from router.control.answer import answer
from router.control.away import answering
from router.control.body import integer, moment, only
from router.control.plane import plane_of, principal_of
from router.control.routes import unknown_model
from router.errors import BadInput
from router.names import NAME, check_name
from router.registry.told import entries_at
from router.stories import Inventory, Past, PastState, Search

PAGE = 100
MOST = 1_000


async def search(request: Request) -> Response:
    """Versions that a query finds, by model and version."""
    plane = plane_of(request)
    only(request, "q", "limit", "cursor")
    condition = parse(request.query_params.get("q", ""))
    limit = integer(request, "limit", PAGE, 1, MOST)
    after = _after(request.query_params.get("cursor"))
    may = principal_of(request).may
    await plane.catalog.fresh()
    shelves = plane.catalog.shelves
    models = [model for model in shelves if may(Verb.READ, model)]
    wanted = None if len(models) == len(shelves) else models
    found = await plane.catalog.ask(lambda index: index.search(condition, wanted, after, limit))
    # A model that is just being read in has its documents first: it was not there when this was asked.
    rows = [found_version(shelves[model], told) for model, _, told in found.versions if model in shelves]
    following = ":".join(found.versions[-1][:2]) if found.more else None
    return answer(Search(versions=rows, next=following))


async def inventory(request: Request) -> Response:
    """Models by name with owner, risk, use and reviews; `overdue=true`: only those whose review is overdue."""
    plane = plane_of(request)
    only(request, "overdue", "limit", "cursor")
    asked = request.query_params
    if asked.get("overdue", "false") not in ("true", "false"):
        raise BadInput("overdue must be true or false", field="overdue")
    limit = integer(request, "limit", PAGE, 1, MOST)
    may = principal_of(request).may
    await plane.catalog.fresh()
    now = time.time()
    rows = [care(shelf, now) for name, shelf in sorted(plane.catalog.shelves.items()) if may(Verb.READ, name)]
    late = [row for row in rows if row.overdue]
    shown = late if asked.get("overdue") == "true" else rows
    behind = [row for row in shown if row.model > asked.get("cursor", "")]
    return answer(
        Inventory(
            models=behind[:limit],
            total=len(shown),
            overdue=len(late),
            next=behind[limit - 1].model if len(behind) > limit else None,
        )
    )


async def past(request: Request) -> Response:
    """What was active at a time, from the histories alone."""
    registry = plane_of(request).registry
    only(request, "at", "model", "limit", "cursor")
    asked = request.query_params
    if "at" not in asked:
        raise BadInput("at is missing: a time such as 2026-11-24T07:00:00Z, or 10m", field="at")
    at = moment(asked["at"], time.time(), "at")
    limit = integer(request, "limit", PAGE, 1, MOST)
    may = principal_of(request).may
    async with answering():
        if "model" in asked:
            model = check_name(asked["model"], "model")
            principal_of(request).require(Verb.READ, model)
            if not await registry.exists(model):
                raise unknown_model(model)
            names = [model]
        else:
            after = asked.get("cursor", "")
            names = [name for name in await registry.models() if name > after and may(Verb.READ, name)]
        page = names[:limit]
        entries = await entries_at(registry, page, at)
        places = [(model, version) for model, entry in entries.items() for version in answered_by(entry)]
        documents = await registry.version_documents(places)
    digests: dict[str, dict[str, str]] = {}
    for (model, version), raw in documents.items():
        digests.setdefault(model, {})[version] = orjson.loads(raw)["digest"]
    states = [state_of(model, entries[model], digests.get(model, {})) for model in page if model in entries]
    following = page[-1] if len(names) > limit else None
    return answer(
        Past(at=_text(at, asked["at"]), models=msgspec.convert(states, list[PastState]), next=following)
    )


def _text(at: float, given: str) -> str:
    """The moment in the one form; times before the calendar begins stay as they were given."""
    try:
        return rfc3339(at)
    except (ValueError, OverflowError, OSError):
        return given


def _after(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None:
        return None
    model, _, version = cursor.partition(":")
    if NAME.match(model) is None or NAME.match(version) is None:
        raise BadInput("this is no cursor of a search", code="bad_cursor", field="cursor")
    return model, version


PATHS = [
    Path("/search", search),
    Path("/inventory", inventory),
    Path("/state", past),
]
