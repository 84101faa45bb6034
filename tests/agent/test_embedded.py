"""The Redis of the environment: its state outlives it, also when the last write was cut short."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator

import pytest
import redis

from router.agent.embedded import OLDEST, EmbeddedRedis, find_server, version
from router.agent.place import Place
from tests.agent.waiting import alive, until


@pytest.fixture
def pipe() -> Iterator[int]:
    life, end = os.pipe()
    yield life
    os.close(life)
    os.close(end)


def run(embedded: EmbeddedRedis, life: int) -> tuple[subprocess.Popen[bytes], int]:
    guard = subprocess.Popen(
        embedded.command(life), pass_fds=(life,), stdout=subprocess.DEVNULL, start_new_session=True
    )
    return guard, asyncio.run(embedded.ready(10))


def client(embedded: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(embedded.url, socket_timeout=2)


def test_it_is_new_enough_and_knows_its_own_pid(place: Place, pipe: int) -> None:
    assert version(find_server()) >= OLDEST
    embedded = EmbeddedRedis(place.redis, place.redis_socket)
    guard, pid = run(embedded, pipe)
    assert pid != guard.pid
    with client(embedded) as connection:
        assert connection.config_get("port")["port"] == "0"
        assert connection.config_get("appendonly")["appendonly"] == "yes"
    assert embedded.socket.stat().st_mode & 0o777 == 0o700
    guard.terminate()
    assert guard.wait(5) == 0
    assert not alive(pid)


def test_state_survives_a_stop_a_kill_and_a_cut_tail(place: Place, pipe: int) -> None:
    embedded = EmbeddedRedis(place.redis, place.redis_socket)
    guard, _ = run(embedded, pipe)
    with client(embedded) as connection:
        connection.set("kept", "1")
    guard.terminate()
    assert guard.wait(5) == 0

    guard, pid = run(embedded, pipe)
    with client(embedded) as connection:
        assert connection.get("kept") == b"1"
        connection.set("kept", "2")
        connection.set("last", "x" * 100)
    log = place.redis / "appendonly.aof"
    until(lambda: b"last" in log.read_bytes(), 3)  # with a slow disk the server writes up to 2 s later
    guard.kill()  # takes the server along, unasked
    guard.wait(5)
    until(lambda: not alive(pid), 2)
    os.truncate(log, log.stat().st_size - 50)  # as a power cut leaves it

    guard, _ = run(embedded, pipe)
    with client(embedded) as connection:
        assert connection.get("kept") == b"2"
        assert connection.get("last") is None
    guard.terminate()
    assert guard.wait(5) == 0


def test_a_server_that_does_not_come_is_a_time_out(place: Place) -> None:
    with pytest.raises(TimeoutError, match="does not answer"):
        asyncio.run(EmbeddedRedis(place.redis, place.redis_socket).ready(0.1))
