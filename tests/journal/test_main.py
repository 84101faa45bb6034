"""The log process as `up` runs it: killed and started again, told to stop, orphaned, without Redis."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import redis

from router.journal.block import parse_entry, records, stream_key
from router.journal.folder import segments, total_bytes
from router.journal.journal import Journal
from router.journal.status import status_key

from .conftest import RedisServer

Child = Callable[..., "subprocess.Popen[str]"]
Until = Callable[[Callable[[], bool], float], None]


def arguments(server: RedisServer, data: Path, *more: str) -> list[str]:
    return ["-m", "router.journal", "--data-dir", str(data), "--redis-url", server.url, *more]


def shipped(client: "redis.Redis", incarnation: str) -> list[str]:
    entries: Any = client.xrange(stream_key(incarnation))
    return [name for entry, values in entries for name, _ in records(incarnation, parse_entry(entry, values))]


def test_exactly_once_over_kill_9_at_random_points(
    redis_server: RedisServer, tmp_path: Path, child: Child, until: Until
) -> None:
    dice = random.Random(5)
    client = redis.Redis.from_url(redis_server.url)
    journals = [Journal(tmp_path / "journal", f"r{i}", segment_bytes=200_000) for i in range(2)]
    ids: list[list[str]] = [[], []]

    def write(count: int) -> None:
        for number, journal in enumerate(journals):
            for _ in range(count):
                ids[number] += journal.append([{"filler": "x" * 500}] * dice.randrange(1, 9))

    def more_than(seen: int) -> bool:
        write(20)
        return client.xlen(stream_key("r0")) > seen

    for _ in range(5):
        process = child(*arguments(redis_server, tmp_path))
        until(partial(more_than, client.xlen(stream_key("r0"))), 10)
        for _ in range(dice.randrange(200)):
            write(2)
        process.kill()
        process.wait()
    write(100)
    process = child(*arguments(redis_server, tmp_path))
    until(lambda: len(shipped(client, "r1")) >= len(ids[1]), 10)
    process.terminate()
    assert process.wait(5) == 0
    for number, journal in enumerate(journals):
        assert shipped(client, f"r{number}") == ids[number]
        journal.close()
    client.close()


def test_told_to_stop_it_ships_what_is_there_first(
    redis_server: RedisServer, tmp_path: Path, child: Child, until: Until
) -> None:
    client = redis.Redis.from_url(redis_server.url)
    (tmp_path / "node.id").write_text("host-a\n")
    status_file = tmp_path / "shipper.json"
    journal = Journal(tmp_path / "journal", "r0")
    ids = journal.append([{"n": 0}])
    process = child(*arguments(redis_server, tmp_path, "--status-file", str(status_file)))
    until(lambda: bool(client.exists(stream_key("r0"))) and status_file.exists(), 10)
    told = json.loads(client.get(status_key("host-a")) or b"{}")
    assert (told["node"], told["pid"], told["trouble"]) == ("host-a", process.pid, None)
    for _ in range(20_000):
        ids += journal.append([{"filler": "x" * 300}])
    process.send_signal(signal.SIGTERM)
    assert process.wait(6) == 0
    assert shipped(client, "r0") == ids
    last = json.loads(status_file.read_text())
    assert (last["lag_bytes"], last["lag"]) == (0, {})
    assert last["kept_bytes"] == last["shipped_bytes"] == total_bytes(tmp_path / "journal")
    journal.close()
    client.close()


def test_orphaned_it_is_gone_within_3_s_though_redis_stands_still(
    redis_server: RedisServer, tmp_path: Path, child: Child, until: Until
) -> None:
    client = redis.Redis.from_url(redis_server.url)
    journal = Journal(tmp_path / "journal", "r0")
    journal.append([{"n": 0}])
    ours, theirs = os.pipe()
    process = child(*arguments(redis_server, tmp_path, "--life-fd", str(ours)), pass_fds=(ours,))
    os.close(ours)
    until(lambda: bool(client.exists(stream_key("r0"))), 10)
    redis_server.pause()
    journal.append([{"n": 1}])
    os.close(theirs)
    started = time.monotonic()
    assert process.wait(5) == 0
    assert time.monotonic() - started < 3
    journal.close()
    client.close()


def test_without_redis_it_waits_and_tells_so_and_deletes_nothing(
    redis_server: RedisServer, tmp_path: Path, child: Child, until: Until
) -> None:
    client = redis.Redis.from_url(redis_server.url)
    redis_server.kill()
    status_file = tmp_path / "shipper.json"
    journal = Journal(tmp_path / "journal", "r0", segment_bytes=5000)
    ids = [name for _ in range(100) for name in journal.append([{"filler": "x" * 200}])]
    before = total_bytes(tmp_path / "journal")
    options = ["--status-file", str(status_file), "--limit-bytes", "1000"]
    process = child(*arguments(redis_server, tmp_path, *options))
    until(lambda: status_file.exists() and json.loads(status_file.read_text())["trouble"] is not None, 10)
    assert json.loads(status_file.read_text())["lag"] == {"r0": before}
    assert total_bytes(tmp_path / "journal") == before
    redis_server.start()
    # Shipped now, all but the open segment may go: the limit is a thousand bytes.
    until(lambda: len(segments(tmp_path / "journal", "r0")) == 1, 10)
    assert shipped(client, "r0") == ids
    assert process.poll() is None
    journal.close()
    client.close()


def test_what_is_left_of_the_dead_is_cleared_away(
    redis_server: RedisServer, tmp_path: Path, child: Child, until: Until
) -> None:
    client = redis.Redis.from_url(redis_server.url)
    root = tmp_path / "journal"
    journal = Journal(root, "dead")
    journal.append([{"n": 0}])
    journal.close()
    process = child(*arguments(redis_server, tmp_path, "--keep-hours", "0"))
    until(lambda: segments(root, "dead") == [], 10)
    assert client.ttl(stream_key("dead")) == -1, "the folder is too young to go"
    os.utime(root / "dead", (0, 0))
    until(lambda: not (root / "dead").exists(), 10)
    assert client.ttl(stream_key("dead")) > 0
    assert process.poll() is None
    client.close()
