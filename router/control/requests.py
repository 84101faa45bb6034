"""The request log over HTTP: one request by its id, or pages by model, version and time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.access.roles import Verb
from router.control.answer import answer
from router.control.body import integer, moment, only
from router.control.plane import Plane, plane_of, principal_of
from router.errors import BadInput, NotFound, Unavailable
from router.journal.reader import Reader
from router.names import REQUEST_ID, check_name

PAGE = 100
MOST = 1000
QUEUE_S = 5.0


async def one(request: Request) -> Response:
    """The records of a request id (callers may repeat one), or the record of a record id."""
    plane, name = plane_of(request), request.path_params["request_id"]
    only(request)
    if REQUEST_ID.match(name) is None:
        raise NotFound("this can be no request id", code="unknown_request")
    async with _turn(plane):
        found = await asyncio.to_thread(_find, plane.reader, name)
    may = principal_of(request).may
    found = [record for record in found if may(Verb.RECORDS, record.get("model") or None)]
    if not found:
        raise NotFound(f"there is no request {name} in the log of this host", code="unknown_request")
    return answer({"requests": found, "next": None})


async def many(request: Request) -> Response:
    """A page of records, oldest first. `next` is null at the end; `cursor` goes on from there at any time."""
    plane = plane_of(request)
    only(request, "model", "version", "since", "limit", "cursor")
    asked = request.query_params
    for name in ("model", "version"):
        if name in asked:
            check_name(asked[name], name)
    principal_of(request).require(Verb.RECORDS, asked.get("model"))
    if "version" in asked and "model" not in asked:
        raise BadInput("version needs a model", field="version")
    since = moment(asked["since"], time.time(), "since") if "since" in asked else None
    limit = integer(request, "limit", PAGE, 1, MOST)
    async with _turn(plane):
        page = await asyncio.to_thread(
            plane.reader.page, asked.get("model"), asked.get("version"), since, limit, asked.get("cursor")
        )
    following = page.cursor if page.more else None
    return answer({"requests": page.records, "next": following, "cursor": page.cursor})


def _find(reader: Reader, name: str) -> list[dict[str, Any]]:
    try:
        record = reader.get(name)
    except ValueError:
        record = None
    return reader.find(name) if record is None else [record]


@asynccontextmanager
async def _turn(plane: Plane) -> AsyncIterator[None]:
    """Few reads of the log at once: each may go over tens of megabytes."""
    try:
        async with asyncio.timeout(QUEUE_S):
            await plane.log_reads.acquire()
    except TimeoutError:
        raise Unavailable("many others read the log: try again", code="log_busy") from None
    try:
        yield
    finally:
        plane.log_reads.release()


PATHS = [Path("/requests", many), Path("/requests/{request_id}", one)]
