"""Redis killed and started again under a control process: refusals at once, recovery by itself."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from tests.control.installation import Installation, until
from tests.journal.conftest import RedisServer


def test_redis_killed_and_back(redis_server: RedisServer, tmp_path: Path) -> None:
    with Installation(redis_server.url, tmp_path, ack_timeout_ms=400) as here:
        here.versions("digits", "1", "2")
        first = here.post("/models/digits/promote", {"version": "1"})
        assert first.status_code == 200
        redis_server.kill()
        started = time.monotonic()
        for answer in (
            here.post("/models/digits/promote", {"version": "2"}),
            here.post("/models/digits/versions/1/deploy", {}),
            here.client.get("/models"),
            here.client.get("/status"),
            here.client.delete("/routers/r1"),
            httpx.get(f"{here.url}/readyz"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "redis_away")
            assert answer.headers["retry-after"] == "1"
        assert time.monotonic() - started < 2.5
        assert httpx.get(f"{here.url}/livez").status_code == 200
        redis_server.start()
        until(lambda: httpx.get(f"{here.url}/readyz").status_code == 200)
        until(lambda: here.plane.acknowledgements.subscribed.is_set())
        second = here.post("/models/digits/promote", {"version": "2"})
        assert second.status_code == 200
        assert second.json()["epoch"] > first.json()["epoch"]
        assert len(here.client.get("/models/digits/history").json()["history"]) == 2
