"""A Redis that answers and takes no write: each reason has its class, and nothing was written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from loadtests.redis_servers import Server
from router.documents import RouterLease
from router.registry.change import Change
from router.registry.connection import connect
from router.registry.registry import Registry
from router.registry.script import REFUSED, WritesRefused, told_apart
from tests.control.installation import TESTER, document

LEASE = RouterLease(id="r", node="n", pid=1, revision=1, highest=1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One whose limits a test may set."""
    made = Server(appendonly="no", maxmemory_policy="noeviction")
    made.start()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("setting", "refusing", "usual", "expected"),
    [
        ("maxmemory", "1", "0", OutOfMemoryError),
        ("min-replicas-to-write", "1", "0", WritesRefused),
        ("replicaof", "127.0.0.1 1", "no one", ReadOnlyError),
    ],
)
def test_a_refused_write_says_why_and_reads_go_on(
    server: Server, setting: str, refusing: str, usual: str, expected: type[Exception]
) -> None:
    def put(value: str) -> None:
        if setting == "replicaof":
            server.client.execute_command("REPLICAOF", *value.split())
        else:
            server.client.config_set(setting, value)

    async def story() -> None:
        registry = Registry(connect(server.url))
        if not await registry.exists("m"):
            await registry.add_version(document("m", "1"), TESTER)
        before = await registry.revision()
        put(refusing)
        try:
            for attempt in (
                registry.commit(Change("m")),
                registry.add_version(document("m", "2"), TESTER),
                registry.acknowledge(LEASE),
            ):
                with pytest.raises(expected):
                    await attempt
            assert await registry.revision() == before
            assert set(await registry.versions("m")) == {"1"}
            assert (await registry.read_since(0)).revision == before
        finally:
            put(usual)
        assert await registry.commit(Change("m")) == before + 1
        await registry.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not",
            OutOfMemoryError,
        ),
        (
            "OOM command not allowed when used memory > 1. script: 1, on @user_script:3.",
            OutOfMemoryError,
        ),
        ("MISCONF Errors writing to the AOF file: No space left on device", WritesRefused),
        ("NOREPLICAS Not enough good replicas to write.", WritesRefused),
        ("ERR wrong number of arguments", ResponseError),
        ("ERR a key called ZOOM and one READONLY", ResponseError),
    ],
)
def test_errors_of_old_and_new_servers(text: str, expected: type[Exception]) -> None:
    assert type(told_apart(ResponseError(text))) is expected


def test_a_known_error_stays_what_it_is() -> None:
    error: Any = OutOfMemoryError("OOM x")
    assert told_apart(error) is error
    assert all(issubclass(each, ResponseError) for each in REFUSED)
