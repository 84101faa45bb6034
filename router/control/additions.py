"""Tags, notes, aliases and reviews over HTTP: said after the registration, each with author and history."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.catalog import addenda, review
from router.catalog.addenda import Addenda, Upkeep
from router.control.answer import answer
from router.control.away import answering
from router.control.body import integer, only, read_form
from router.control.plane import actor_of, model_of, plane_of, version_of
from router.control.routes import Flip, unknown_model
from router.control.versions import require_version
from router.documents import Route
from router.errors import Conflict, NotFound
from router.names import check_name
from router.registry.additions import add, additions
from router.stories import Additions, Aliases, Note, Noted, Review, Reviewed, Tagged
from router.veil import veiled_text

PAGE = 100
MOST = 1_000
POSITION = 10**15


class Tags(msgspec.Struct, frozen=True):
    """Body of `tags`: texts by name; null takes a tag away."""

    tags: dict[str, str | None]
    reason: str | None = None


class Remark(msgspec.Struct, frozen=True):
    """Body of `notes`."""

    text: str


class Alias(msgspec.Struct, frozen=True):
    """Body of `aliases`: the version that a name stands for; null takes the name away."""

    name: str
    version: str | None
    reason: str | None = None


class Reviewing(msgspec.Struct, frozen=True):
    """Body of `review`; it may be empty. `every`: an interval such as 90d, or `never`."""

    reviewed: bool = True
    every: str | None = None
    reason: str | None = None


async def tag(request: Request) -> Response:
    """Sets and takes away tags of a version."""
    plane, model, version = plane_of(request), model_of(request), version_of(request)
    only(request)
    form = await read_form(request, Tags)

    def decide(present: Addenda, _: str) -> Addenda | None:
        sent.maybe = True
        return addenda.tagged(present, form.tags)

    async with answering() as sent:
        await require_version(plane, model, version)
        done = await add(
            plane.registry,
            *(model, version, Addenda, decide),
            *(actor_of(request, form.reason), "version.tag"),
        )
    tags = done.value.tags
    return answer(
        Tagged(model=model, version=version, tags=tags, changed=done.revision > 0, revision=done.revision)
    )


async def note(request: Request) -> Response:
    """Adds a note to a version; none is ever changed or removed."""
    plane, model, version = plane_of(request), model_of(request), version_of(request)
    only(request)
    form = await read_form(request, Remark)
    actor = actor_of(request, None)

    def decide(present: Addenda, now: str) -> Addenda:
        sent.maybe = True
        return addenda.noted(present, Note(time=now, actor=actor.name, text=veiled_text(form.text)))

    async with answering() as sent:
        await require_version(plane, model, version)
        done = await add(plane.registry, model, version, Addenda, decide, actor, "version.note")
    found = Noted(model=model, version=version, notes=list(done.value.notes), revision=done.revision)
    return answer(found, 201)


async def reviewing(request: Request) -> Response:
    """Marks a model as reviewed, or says how often it is to be."""
    plane, model = plane_of(request), model_of(request)
    only(request)
    form = await read_form(request, Reviewing)
    actor = actor_of(request, form.reason)

    def decide(present: Upkeep, now: str) -> Upkeep | None:
        sent.maybe = True
        done = Review(time=now, actor=actor.name, reason=actor.reason) if form.reviewed else None
        return addenda.reviewed(present, done, form.every)

    async with answering() as sent:
        await _require_model(request, model)
        done = await add(plane.registry, model, None, Upkeep, decide, actor, "model.review")
        created = await plane.registry.created(model)
    kept: Upkeep = done.value
    found = Reviewed(
        model=model,
        review_every=kept.review_every,
        reviewed=kept.reviewed,
        review_due=review.due(kept.review_every, kept.reviewed.time if kept.reviewed else None, created),
        changed=done.revision > 0,
        revision=done.revision,
    )
    return answer(found)


async def alias(request: Request) -> Response:
    """Lets a name stand for a version; a change of the route that changes nobody's answers."""
    started = time.perf_counter()
    plane, model = plane_of(request), model_of(request)
    form = await read_form(request, Alias)
    name = check_name(form.name, "name")
    async with answering():
        if form.version is not None:
            await require_version(plane, model, check_name(form.version, "version"))
        else:
            await _require_model(request, model)
        if (model, name) in await plane.registry.version_documents([(model, name)]):
            raise Conflict(
                f"model {model} has a version {name}: an alias needs another name",
                code="alias_is_version",
                field="name",
            )

    def decide(route: Route | None) -> Route | None:
        present = Route(model=model) if route is None else route
        if form.version is None and name not in present.aliases:
            raise NotFound(f"model {model} has no alias {name}", code="unknown_alias", field="name")
        wanted = addenda.aliased(present.aliases, name, form.version)
        return None if wanted is None else replace(present, aliases=wanted)

    return await Flip(request, model, "alias", form.reason, {}, warm=False).run(decide, started)


async def aliases(request: Request) -> Response:
    """The aliases of a model."""
    plane, model = plane_of(request), model_of(request)
    only(request)
    async with answering():
        await _require_model(request, model)
        route = (await plane.registry.model_state(model)).route
    found = Aliases(
        model=model, aliases={} if route is None else route.aliases, epoch=0 if route is None else route.epoch
    )
    return answer(found, headers={"etag": f'"{found.epoch}"'})


async def listed(request: Request) -> Response:
    """Who added what, oldest first. Aliases are in the history of the route."""
    plane, model = plane_of(request), model_of(request)
    only(request, "limit", "cursor")
    limit = integer(request, "limit", PAGE, 1, MOST)
    start = integer(request, "cursor", 0, 0, POSITION)
    async with answering():
        await _require_model(request, model)
        found: list[Any] = await additions(plane.registry, model, start, limit + 1)
    following = str(start + limit) if len(found) > limit else None
    return answer(Additions(additions=found[:limit], next=following))


async def _require_model(request: Request, model: str) -> None:
    if not await plane_of(request).registry.exists(model):
        raise unknown_model(model)


PATHS = [
    Path("/models/{model}/versions/{version}/tags", tag, methods=["POST"]),
    Path("/models/{model}/versions/{version}/notes", note, methods=["POST"]),
    Path("/models/{model}/aliases", aliases),
    Path("/models/{model}/aliases", alias, methods=["POST"]),
    Path("/models/{model}/review", reviewing, methods=["POST"]),
    Path("/models/{model}/additions", listed),
]
