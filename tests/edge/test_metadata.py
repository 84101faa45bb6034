"""The metadata paths while the router is not ready; what they say of models is in tests/protocols."""

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from router.edge.metadata import Metadata
from router.settings import Settings


def ask(path: str, missing: str | None) -> httpx.Response:
    """One GET of a router that lacks `missing`."""
    stub: Any = SimpleNamespace(missing=lambda: missing)
    app = Starlette(routes=Metadata(Settings(), stub, stub).routes)

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://router") as client:
            return await client.get(path)

    return asyncio.run(get())


@pytest.mark.parametrize("missing", [None, "draining"])
def test_ready_is_that_of_the_router_and_live_is_not(missing: str | None) -> None:
    live = ask("/v2/health/live", missing)
    assert (live.status_code, live.json()["live"]) == (200, True)
    ready = ask("/v2/health/ready", missing)
    assert ready.json()["ready"] is (missing is None)
    assert ready.status_code == (200 if missing is None else 503)
    if missing is not None:
        assert (ready.json()["error"], ready.json()["code"]) == ("draining", "not_ready")
        assert ready.headers["retry-after"] == "1"
