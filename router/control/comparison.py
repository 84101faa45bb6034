"""A version whole, beside others, in its family, and as a card, over HTTP; changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.roles import Verb
from router.catalog import lineage
from router.catalog.addenda import Addenda
from router.catalog.breaking import breaks
from router.catalog.card import Format, render
from router.catalog.compare import compared
from router.catalog.index import Index
from router.control.answer import answer
from router.control.away import answering
from router.control.body import integer, only
from router.control.metrics import known_routers
from router.control.models import share
from router.control.plane import Plane, model_of, plane_of, principal_of, version_of
from router.control.routes import unknown_model, unknown_version
from router.control.scrape import scrape
from router.documents import ModelState, Version
from router.errors import BadInput
from router.names import check_name
from router.registry.additions import addenda_of
from router.stories import (
    Breaks,
    Card,
    Comparison,
    DatasetLineage,
    Generation,
    Lineage,
    Named,
    Serves,
    Touched,
    VersionStory,
)

PAGE = 200
MOST = 1_000
VERSIONS = 10  # beside each other
FAMILY = 5_000  # versions that a data set went into
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
REQUESTS = "pointsman_requests_total"
FORMATS: Mapping[str, Format] = {"markdown": "markdown", "html": "html"}

Place = tuple[str, str]


async def story(request: Request) -> Response:
    """One version: its document and what was added."""
    plane, model, version = plane_of(request), model_of(request), version_of(request)
    only(request)
    async with answering():
        state, [document], [added] = await _read(plane, model, [version])
        active = None if state.route is None else state.route.active
        found = None
        if active is not None and active != version:
            [present] = (await _read(plane, model, [active]))[1]
            found = list(breaks(_signature(present), _signature(document)))
    return answer(
        VersionStory(
            model=model,
            version=version,
            document=document,
            tags=added.tags,
            notes=list(added.notes),
            aliases=_aliases(state, version),
            breaking=Breaks(against=active, changes=found) if found and active else None,
        )
    )


async def compare(request: Request) -> Response:
    """Versions side by side; `differing=true` leaves out the rows that say the same of all."""
    plane, model = plane_of(request), model_of(request)
    only(request, "versions", "differing", "limit", "cursor")
    asked = request.query_params
    versions = [check_name(name, "versions") for name in asked.get("versions", "").split(",") if name]
    if not 2 <= len(versions) <= VERSIONS or len(set(versions)) < len(versions):
        raise BadInput(f"versions must be 2 to {VERSIONS} different ones, such as 1,2", field="versions")
    if asked.get("differing", "false") not in ("true", "false"):
        raise BadInput("differing must be true or false", field="differing")
    limit, start = integer(request, "limit", PAGE, 1, MOST), integer(request, "cursor", 0, 0, 10**9)
    async with answering():
        _, documents, added = await _read(plane, model, versions)
    rows = compared(documents, [each.tags for each in added])
    shown = [row for row in rows if row.differs] if asked.get("differing") == "true" else rows
    first = _signature(documents[0])
    return answer(
        Comparison(
            model=model,
            versions=versions,
            rows=shown[start : start + limit],
            breaking={
                version: list(breaks(first, _signature(document)))
                for version, document in zip(versions[1:], documents[1:], strict=True)
            },
            differing=sum(row.differs for row in rows),
            total=len(rows),
            next=str(start + limit) if len(shown) > start + limit else None,
        )
    )


async def card(request: Request) -> Response:
    """The model card, `?format=markdown` or `html`."""
    plane, model, version = plane_of(request), model_of(request), version_of(request)
    only(request, "format")
    form = FORMATS.get(request.query_params.get("format", "markdown"))
    if form is None:
        raise BadInput("format must be markdown or html", field="format")
    async with answering():
        state, [document], [added] = await _read(plane, model, [version])
    text = render(document, added, _aliases(state, version), form)
    return answer(Card(model=model, version=version, format=form, card=text))


async def family(request: Request) -> Response:
    """Data sets and parents of a version, its children, and who is served by it."""
    plane, model, version = plane_of(request), model_of(request), version_of(request)
    only(request)
    may = principal_of(request).may
    async with answering():
        state, [document], _ = await _read(plane, model, [version])
        await plane.catalog.fresh()

    def ask(index: Index) -> tuple[list[dict[str, Any]], list[Place]]:
        def readable(name: str, number: str) -> Mapping[str, Any] | None:
            return index.document(name, number) if may(Verb.READ, name) else None

        return lineage.ancestors(document, readable), index.children(model, version)

    ancestors, children = await plane.catalog.ask(ask)
    counted = await _counted(plane)
    told = document.get("lineage") or {}
    route = state.route
    return answer(
        Lineage(
            model=model,
            version=version,
            digest=document["digest"],
            commit=told.get("commit"),
            recipe=told.get("recipe"),
            params=told.get("params") or {},
            libraries=told.get("libraries") or {},
            datasets=list(told.get("datasets") or ()),
            ancestors=msgspec.convert(ancestors, list[Generation]),
            children=[_named(place) for place in children if may(Verb.READ, place[0])],
            serves=Serves(
                active=route is not None and route.active == version,
                share=share(route, version),
                epoch=0 if route is None else route.epoch,
                aliases=_aliases(state, version),
                replicas=sum(r.version == version and r.state == "ready" for r in state.replicas),
                requests=None if counted is None else counted.get((model, version), 0),
            ),
        )
    )


async def of_dataset(request: Request) -> Response:
    """From a data set's SHA-256 to the versions it went into, and how many requests they answered."""
    plane = plane_of(request)
    only(request, "dataset", "limit", "cursor")
    digest = request.query_params.get("dataset", "")
    if SHA256.match(digest) is None:
        raise BadInput("dataset must be the SHA-256 of a data set: 64 lower-case hex digits", field="dataset")
    limit, start = integer(request, "limit", PAGE, 1, MOST), integer(request, "cursor", 0, 0, 10**9)
    may = principal_of(request).may
    await plane.catalog.fresh()

    def ask(index: Index) -> tuple[list[tuple[Place, Place | None]], list[str], dict[Place, str]]:
        families = index.families()
        found = lineage.touched(
            index.with_dataset(digest, FAMILY), lambda *place: families.get("/".join(place), ()), FAMILY
        )
        shown = [each for each in found if may(Verb.READ, each[0][0])]
        digests = {
            place: (index.document(*place) or {}).get("digest", "")
            for place, _ in shown[start : start + limit]
        }
        names = _dataset_names(index, [place for place, through in shown if through is None], digest)
        return shown, names, digests

    shown, names, digests = await plane.catalog.ask(ask)
    counted = await _counted(plane)
    shelves = plane.catalog.shelves
    versions = []
    for (model, version), through in shown[start : start + limit]:
        route = shelves[model].state.route if model in shelves else None
        versions.append(
            Touched(
                model=model,
                version=version,
                digest=digests.get((model, version), ""),
                through=_named(through) if through is not None and may(Verb.READ, through[0]) else None,
                active=route is not None and route.active == version,
                requests=None if counted is None else counted.get((model, version), 0),
            )
        )
    return answer(
        DatasetLineage(
            dataset=digest,
            names=names,
            versions=versions,
            bounded=len(shown) >= FAMILY,
            next=str(start + limit) if len(shown) > start + limit else None,
        )
    )


async def _read(
    plane: Plane, model: str, versions: Sequence[str]
) -> tuple[ModelState, list[dict[str, Any]], list[Addenda]]:
    """The model's state, the documents, and what was added to them. Raises NotFound."""
    registry = plane.registry
    if not await registry.exists(model):
        raise unknown_model(model)
    found = await registry.version_documents([(model, version) for version in versions])
    for version in versions:
        if (model, version) not in found:
            raise unknown_version(model, version)
    documents = [orjson.loads(found[model, version]) for version in versions]
    return await registry.model_state(model), documents, await addenda_of(registry, model, list(versions))


async def _counted(plane: Plane) -> dict[Place, int] | None:
    """Requests by model and version that the routers of this host answered since they began; None: none told."""
    found: dict[Place, int] = {}
    told = [each for each in (await scrape(plane.runtime_dir, known_routers(plane))).values() if each]
    for counters in told:
        for name, _, labels, series in counters.counters:
            if name == REQUESTS:
                model, version = labels.index("model"), labels.index("version")
                for values, number in series:
                    place = values[model], values[version]
                    found[place] = found.get(place, 0) + int(number)
    return found if told else None


def _dataset_names(index: Index, direct: Sequence[Place], digest: str) -> list[str]:
    """What the data set is called in the lineages that name it, of a hundred versions at most."""
    names: dict[str, None] = {}
    for place in direct[:100]:
        told = (index.document(*place) or {}).get("lineage") or {}
        names |= {each["name"]: None for each in told.get("datasets") or () if each.get("sha256") == digest}
    return list(names)


def _named(place: Place) -> Named:
    return Named(model=place[0], version=place[1])


def _signature(document: Mapping[str, Any]) -> Any:
    return msgspec.convert(document, Version).signature


def _aliases(state: ModelState, version: str) -> list[str]:
    return [name for name, to in (state.route.aliases if state.route else {}).items() if to == version]


PATHS = [
    Path("/models/{model}/versions/{version}", story),
    Path("/models/{model}/versions/{version}/lineage", family),
    Path("/models/{model}/versions/{version}/card", card),
    Path("/models/{model}/compare", compare),
    Path("/lineage", of_dataset),
]
