"""Fixtures of the control plane's tests: one Redis for all of them, emptied for each; one installation each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.control.installation import Installation
from tests.journal.conftest import RedisServer


@pytest.fixture(scope="session")
def control_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_url(control_redis: RedisServer) -> str:
    with redis.Redis.from_url(control_redis.url) as client:
        client.flushall()
    return control_redis.url


@pytest.fixture
def here(redis_url: str, tmp_path: Path) -> Iterator[Installation]:
    with Installation(redis_url, tmp_path, ack_timeout_ms=400) as installation:
        yield installation


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """One that a test may kill."""
    server = RedisServer()
    server.start()
    yield server
    server.close()
