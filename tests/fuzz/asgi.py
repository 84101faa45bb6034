"""Requests as Starlette gives them to the control API, from bytes; nothing here is a test."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from starlette.requests import Request

from router.settings import Settings

T = TypeVar("T")
APP = SimpleNamespace(
    state=SimpleNamespace(plane=SimpleNamespace(settings=Settings(data_dir=Path("nowhere"))))
)
_loops: list[asyncio.AbstractEventLoop] = []


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on a loop that all inputs share: to make one costs more than most of them."""
    if not _loops or _loops[0].is_closed():
        _loops[:] = [asyncio.new_event_loop()]
    return _loops[0].run_until_complete(work)


def request(body: bytes, *, query: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> Request:
    """A POST whose body comes in three pieces, after which the caller is gone."""
    cuts = [0, len(body) // 3, len(body) // 2, len(body)]
    pieces = [body[a:z] for a, z in pairwise(cuts)]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False
    left = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(left)

    scope = {
        "type": "http",
        "app": APP,
        "method": "POST",
        "path": "/",
        "query_string": query,
        "headers": headers or [],
    }
    return Request(scope, receive)
