"""The metrics page: routers on real Unix sockets, merged; one that hangs, one that is gone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from router.edge.metrics import Metrics
from tests.control.installation import Installation


@pytest.fixture
def runtime(here: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    here.plane.runtime_dir = tmp_path_factory.mktemp("r")
    return here.plane.runtime_dir


def counted(router: str, requests: int) -> dict[str, Any]:
    """A document as the edge makes it."""
    metrics = Metrics()
    for _ in range(requests):
        metrics.count("digits", "1", "active", 200)
        metrics.observe("digits", "1", 0.7, 0.1, 0.4, 3)
    gauge = ["pointsman_route_epoch", "Epoch.", ["model", "version"], [[["digits", "1"], 41]]]
    return metrics.document(router, [gauge], [["pointsman_log_dropped_total", "Lost.", [], [[[], 2]]]])


def answering(here: Installation, path: Path, answer: Callable[[], Awaitable[bytes]]) -> None:
    """A router's internal socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await answer()
        if not body:
            await reader.read()  # until the caller gives up
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        writer.close()

    here.listen(path, serve)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_all_routers_on_one_page(here: Installation, runtime: Path) -> None:
    for name, requests in (("r0.a", 3), ("r1.b", 5)):
        here.router(name)

        async def answer(document: bytes = json.dumps(counted(name, requests)).encode()) -> bytes:
            return document

        answering(here, runtime / f"{name}.sock", answer)
    here.router("r2.gone")
    (runtime / "shipper.json").write_text(json.dumps({"lag_bytes": 77}))
    page = here.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    found = samples(page.text)
    labels = {"model": "digits", "version": "1", "reason": "active", "code": "200"}
    for router, count in (("r0.a", 3), ("r1.b", 5)):
        key = frozenset((labels | {"router": router}).items())
        assert found["pointsman_requests_total", key] == count
        times = {"model": "digits", "version": "1", "router": router}
        assert found["pointsman_request_duration_seconds_count", frozenset(times.items())] == count
        for bound, under in (("0.0005", 0), ("0.001", count), ("+Inf", count)):
            key = frozenset((times | {"le": bound}).items())
            assert found["pointsman_request_duration_seconds_bucket", key] == under
        assert found["pointsman_route_epoch", frozenset(times.items())] == 41
        assert found["pointsman_router_up", frozenset({("router", router)})] == 1
        assert found["pointsman_log_dropped_total", frozenset({("router", router)})] == 2
    assert found["pointsman_router_up", frozenset({("router", "r2.gone")})] == 0
    assert found["pointsman_routers_known", frozenset()] == 3
    assert found["pointsman_redis_up", frozenset()] == 1
    assert found["pointsman_shipper_lag_bytes", frozenset()] == 77
    assert "pointsman_revision" in page.text
    headers = here.client.headers
    assert httpx.get(f"{here.url}/metrics", headers=headers).status_code == 200


def test_a_hanging_router_costs_half_a_second(here: Installation, runtime: Path) -> None:
    async def hang() -> bytes:
        return b""

    async def rubbish() -> bytes:
        return b'{"router": 5}'

    answers: list[tuple[str, Callable[[], Awaitable[bytes]]]] = [("r0", hang), ("r1", hang), ("r2", rubbish)]
    for name, answer in answers:
        here.router(name)
        answering(here, runtime / f"{name}.sock", answer)
    started = time.monotonic()
    found = samples(here.client.get("/metrics").text)
    assert time.monotonic() - started < 1.5
    assert {value for (name, _), value in found.items() if name == "pointsman_router_up"} == {0}


def test_metrics_while_redis_is_away(here: Installation, runtime: Path, redis_url: str) -> None:
    async def answer() -> bytes:
        return json.dumps(counted("r0", 1)).encode()

    answering(here, runtime / "r0.sock", answer)
    (runtime / "processes.json").write_text(json.dumps({"routers": [{"id": "r0", "pid": 1}]}))
    with redis.Redis.from_url(redis_url) as admin:
        admin.client_pause(1500)
        found = samples(here.client.get("/metrics").text)
        admin.ping()
    assert found["pointsman_redis_up", frozenset()] == 0
    assert found["pointsman_router_up", frozenset({("router", "r0")})] == 1
