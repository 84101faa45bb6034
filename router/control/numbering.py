"""What every registration needs: a version's number for itself, a place among the others, a caller who waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request

from router.control.away import answering
from router.control.plane import Plane
from router.errors import Conflict, Unavailable
from router.names import check_name


@asynccontextmanager
async def numbered(plane: Plane, model: str, stated: str | None) -> AsyncIterator[str]:
    """The version's name, kept from other registrations of this process until this one is done."""
    async with answering():
        existing = await plane.registry.versions(model)
    taken = set(existing) | {name for owner, name in plane.registering if owner == model}
    if stated is not None and stated in taken:
        raise Conflict(
            f"model {model} already has a version {stated}; versions are never overwritten",
            code="version_exists",
            field="version",
        )
    numbers = [int(name) for name in taken if name.isascii() and name.isdigit()]
    version = stated or str(max(numbers, default=0) + 1)
    check_name(version, "version")
    plane.registering.add((model, version))
    try:
        yield version
    finally:
        plane.registering.discard((model, version))


def busy() -> Unavailable:
    """As many registrations run as may."""
    return Unavailable("other registrations are running: try again", code="registrations_busy")


def gone(request: Request) -> Callable[[], Awaitable[None]]:
    """A function that returns when the caller has hung up; the body must have been read."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait
