"""Bodies and answers of any length: not buffered, not delayed, back-pressure both ways, clean and unclean ends."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.edge.house import MIB, House, Neighbour, RouterProcess, Wire, settled, until

MOST_GROWTH = 4 * MIB
LONG = 100_000_000
EVENTS = 10_000
SMALL_BUFFER = 64 << 10  # of the client's socket: the kernel would else take megabytes for a slow reader
IN_BUFFERS = 16 * MIB  # what the kernel's buffers on the way may take (tcp_wmem alone is 4 MiB)


def blocks(size: int) -> Iterator[bytes]:
    """So many bytes in pieces of 1 MiB."""
    piece = os.urandom(MIB)
    while size:
        yield piece[:size]
        size -= min(size, MIB)


def down(router: RouterProcess, size: int) -> None:
    with router.client.stream("GET", "/models/m/big", params={"n": size}) as answer:
        got = sum(len(part) for part in answer.iter_raw())
    assert got == size


def up(router: RouterProcess, size: int) -> None:
    answer = router.client.post("/models/m/sink?id=up", content=blocks(size))
    assert answer.json() == {"size": size}


def events(router: RouterProcess, count: int) -> None:
    with router.client.stream("GET", "/models/m/sse", params={"n": count}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        numbers = [json.loads(line[6:])["number"] for line in answer.iter_lines() if line]
    assert numbers == list(range(count))


@pytest.mark.parametrize(("work", "amount"), [(up, LONG), (down, LONG), (events, EVENTS)])
def test_memory_stays(router: RouterProcess, work, amount: int) -> None:  # type: ignore[no-untyped-def]
    work(router, amount // 5)
    with router.growth() as growth:
        work(router, amount)
    print(f"\n{work.__name__}: {growth[0] / MIB:.2f} MiB")
    assert growth[0] < MOST_GROWTH


def test_an_echo_of_a_long_chunked_body_is_whole(router: RouterProcess) -> None:
    sent, got = hashlib.sha256(), hashlib.sha256()

    def body() -> Iterator[bytes]:
        for part in blocks(10_000_000):
            sent.update(part)
            yield part

    # httpx sends all of it before it reads: the answer waits in buffers, so the replica collects nothing here.
    answer = router.client.post("/models/m/whole", content=body())
    assert answer.json()["sha256"] == sent.hexdigest()
    with router.wire() as wire:
        wire.ask("POST", "/models/m/echo", "transfer-encoding: chunked")
        status, headers = 0, dict[str, str]()
        for number in range(200):
            part = os.urandom(1000 + number)
            got.update(part)
            wire.send(b"%x\r\n%b\r\n" % (len(part), part))
            if not status:
                status, headers = wire.head()
                assert (status, headers["transfer-encoding"]) == (200, "chunked")
            # Each piece comes back before the next is sent: nothing on the way waits for more.
            assert hashlib.sha256(chunk(wire)).digest() == hashlib.sha256(part).digest()
        wire.send(b"0\r\n\r\n")
        assert chunk(wire) == b""


def chunk(wire: Wire) -> bytes:
    """One chunk of a chunked answer."""
    size = int(wire.until(b"\r\n"), 16)
    data = wire.exactly(size)
    wire.exactly(2)
    return data


@pytest.mark.parametrize("path", ["sse?n=2", "big?n=200000", "big?n=200000&length=1"])
def test_the_first_bytes_arrive_while_the_replica_holds_the_rest_back(
    house: House, router: RouterProcess, fresh_id: str, path: str
) -> None:
    with router.wire() as wire:
        wire.ask("GET", f"/models/m/versions/2/{path}&gate=1&id={fresh_id}")
        assert wire.head()[0] == 200
        wire.exactly(20)
        assert house.neighbours["c"].state["sent"][fresh_id] <= 1 << 16
        house.neighbours["c"].open(fresh_id)


def test_events_arrive_one_by_one(house: House, router: RouterProcess) -> None:
    with router.wire() as wire:
        wire.ask("POST", "/models/m/echo", "transfer-encoding: chunked")
        for number in range(50):
            event = b"data: %d\n\n" % number
            wire.send(b"%x\r\n%b\r\n" % (len(event), event))
            if number == 0:
                wire.head()
            assert chunk(wire) == event
        wire.send(b"0\r\n\r\n")
        assert chunk(wire) == b""


def test_a_slow_reader_slows_the_replica(house: House, router: RouterProcess, fresh_id: str) -> None:
    replica = house.neighbours["c"]
    size = 300 * MIB
    down(router, 20 * MIB)
    with router.growth() as growth, router.wire(receive_buffer=SMALL_BUFFER) as wire:
        wire.ask("GET", f"/models/m/versions/2/big?n={size}&id={fresh_id}", f"x-request-id: {fresh_id}")
        wire.exactly(1000)
        got = settled(lambda: replica.state["sent"].get(fresh_id, 0))
        assert 0 < got < IN_BUFFERS, f"{got / MIB:.1f} MiB"
    print(f"\nreplica got {got / MIB:.2f} MiB ahead, the router grew by {growth[0] / MIB:.2f} MiB")
    assert growth[0] < MOST_GROWTH
    # The reader is gone: so is the exchange.
    until(lambda: fresh_id in replica.state["left"])
    record = house.record(fresh_id)
    assert record["error"] == "the caller left"
    assert record["bytes"]["out"] < IN_BUFFERS


def test_a_slow_replica_slows_the_uploader(house: House, router: RouterProcess, fresh_id: str) -> None:
    replica = house.neighbours["c"]
    size, sent = 100 * MIB, 0
    with router.growth() as growth, router.wire() as wire:
        wire.ask("POST", f"/models/m/versions/2/sink?gate=1&id={fresh_id}", f"content-length: {size}")
        wire.socket.setblocking(False)

        def push() -> int:
            nonlocal sent
            while sent < size:
                try:
                    sent += wire.socket.send(bytes(min(1 << 16, size - sent)))
                except BlockingIOError:
                    break
            return sent

        assert settled(push) < IN_BUFFERS, f"{sent / MIB:.1f} MiB"
        assert replica.state["received"][fresh_id] <= 1 << 20
        print(f"\n{sent / MIB:.2f} MiB sent, the router grew by {growth[0] / MIB:.2f} MiB")
        replica.open(fresh_id)
        until(lambda: push() == size, 20)
        wire.socket.settimeout(10)
        assert wire.json()[2] == {"size": size}
    assert growth[0] < MOST_GROWTH


# -- ends --------------------------------------------------------------------------------------------------


def test_a_callers_leaving_ends_the_exchange(house: House, router: RouterProcess, fresh_id: str) -> None:
    replica = house.neighbours["c"]
    with router.wire() as wire:
        wire.ask("GET", f"/models/m/versions/2/sse?n=9&gate=1&id={fresh_id}", f"x-request-id: {fresh_id}")
        wire.head()
    until(lambda: fresh_id in replica.state["left"])
    record = house.record(fresh_id)
    assert (record["status"], record["error"]) == (200, "the caller left")
    assert record["attempts"][0]["error"] == "the caller left"


def test_a_caller_who_leaves_before_the_answer_is_recorded_once(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    replica = house.neighbours["c"]
    before = router.counted(499)
    with router.wire() as wire:
        wire.ask("GET", f"/models/m/versions/2/silent?id={fresh_id}", f"x-request-id: {fresh_id}")
        until(lambda: "/silent" in replica.state["hits"])
    until(lambda: fresh_id in replica.state["left"])
    record = house.record(fresh_id)
    assert (record["status"], record["replica"]) == (499, "c")
    assert record["attempts"][0]["status"] == 499
    assert router.counted(499) == before + 1


def test_a_caller_who_leaves_within_the_body_is_recorded(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    with router.wire() as wire:
        wire.ask("POST", "/models/m/whole", "content-length: 1000", f"x-request-id: {fresh_id}")
        wire.send(b"x" * 500)
    assert house.record(fresh_id)["status"] == 499


@pytest.mark.parametrize("length", ["", "&length=300000"])
def test_a_cut_answer_has_no_clean_end(
    house: House, router: RouterProcess, fresh_id: str, length: str
) -> None:
    with router.wire() as wire:
        wire.ask("GET", f"/models/m/cut?n=30000{length}", f"x-request-id: {fresh_id}")
        assert wire.head()[0] == 200
        assert not wire.rest().endswith(b"0\r\n\r\n")
    record = house.record(fresh_id)
    assert "connection lost" in record["error"]
    assert record["status"] == 200
    assert record["bytes"] == {"in": 0, "out": 30000}
    assert "connection lost" in record["attempts"][0]["error"]


def test_a_small_announced_answer_that_is_cut_is_a_502(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    answer = router.client.get("/models/m/cut?n=10&length=20", headers={"x-request-id": fresh_id})
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_failed")
    assert answer.headers["x-model-version"] == "1"
    record = house.record(fresh_id)
    assert (record["status"], record["attempts"][0]["status"]) == (502, 502)


def test_a_replica_that_is_killed_ends_its_streams(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    victim = house.neighbours["victim"] = Neighbour(house.folder, "victim")
    house.add_version("mortal", "1")
    house.seat("mortal", "1", "victim")
    house.promote("mortal", "1")
    with router.wire() as wire:
        wire.ask("GET", f"/models/mortal/sse?n=9&gate=1&id={fresh_id}", f"x-request-id: {fresh_id}")
        wire.head()
        chunk(wire)
        victim.process.kill()
        assert wire.rest() == b""
    assert "connection lost" in house.record(fresh_id)["error"]
    gone = router.client.get("/models/mortal/whole")
    assert (gone.status_code, gone.json()["code"]) == (503, "not_ready")
    assert gone.headers["retry-after"] == "1"


def test_an_early_answer_to_a_long_body_arrives(house: House, router: RouterProcess, fresh_id: str) -> None:
    for size in (10, 5_000_000):
        with router.wire() as wire:
            wire.ask("POST", "/models/m/early", f"content-length: {size}", f"x-request-id: {fresh_id}{size}")
            wire.send(b"x" * min(size - 1, 200_000))
            status, _, told = wire.json()  # while the body is still on its way
            assert (status, told) == (400, {"error": "not read"})
            wire.send(b"x" * (size - min(size - 1, 200_000)))
            wire.ask("GET", "/models/m/whole?nonce=next")
            assert wire.json()[2]["nonce"] == "next"
        assert house.record(f"{fresh_id}{size}")["status"] == 400


def test_a_streams_record_has_begin_and_end(house: House, router: RouterProcess, fresh_id: str) -> None:
    headers = {"x-request-id": fresh_id}
    answer = router.client.post("/models/m/echo", content=blocks(300_000), headers=headers)
    assert len(answer.content) == 300_000
    record = house.record(fresh_id)
    assert record["bytes"] == {"in": 300_000, "out": 300_000}
    assert (record["status"], record["error"]) == (200, None)
    assert record["attempts"][0]["status"] == 200
    assert record["attempts"][0]["upstream_ms"] >= record["upstream_ms"] > 0
    assert record["total_ms"] >= record["upstream_ms"]


# -- flips, limits, shutdown -------------------------------------------------------------------------------


def test_a_stream_ends_on_its_version_when_the_pointer_moves(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    try:
        with router.wire() as wire:
            wire.ask("GET", f"/models/m/sse?n=4&gate=1&id={fresh_id}")
            assert wire.head()[1]["x-model-version"] == "1"
            first = chunk(wire)
            house.promote("m", "2")
            assert router.client.get("/models/m/whole").json()["replica"] == "c"
            for name in "ab":
                house.neighbours[name].open(fresh_id)
            rest = wire.until(b"0\r\n\r\n")
        replicas = re.findall(r'"replica": "(.)"', (first + rest).decode())
        assert len(replicas) == 4
        assert len(set(replicas)) == 1
        assert replicas[0] in "ab"
    finally:
        house.promote("m", "1")


@pytest.fixture(scope="module")
def tight(house: House) -> RouterProcess:
    """A router with short limits."""
    return house.router(
        "r1.tight", pass_body_bytes=MIB, request_timeout_ms=700, stream_idle_ms=600, shutdown_ms=8000
    )


def test_an_announced_body_over_the_limit_is_not_read(house: House, tight: RouterProcess) -> None:
    with tight.wire() as wire:
        wire.ask("POST", "/models/m/sink?id=never", f"content-length: {MIB + 1}")
        status, headers, told = wire.json()
    assert (status, told["code"], headers["connection"]) == (413, "body_too_large", "close")
    assert headers["x-model-version"] == "1"


def test_a_counted_body_over_the_limit_ends_the_exchange(
    house: House, tight: RouterProcess, fresh_id: str
) -> None:
    with tight.wire() as wire:
        wire.ask("POST", f"/models/m/sink?id={fresh_id}", "transfer-encoding: chunked")
        for _ in range(17):
            wire.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        status, headers, told = wire.json()
    assert (status, told["code"], headers["connection"]) == (413, "body_too_large", "close")
    for name in "ab":
        assert house.neighbours[name].state["received"].get(fresh_id, 0) <= MIB


def test_a_silent_replica_is_a_504(house: House, tight: RouterProcess, fresh_id: str) -> None:
    answer = tight.client.get(f"/models/m/silent?id={fresh_id}")
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    until(lambda: any(fresh_id in house.neighbours[name].state["left"] for name in "ab"))
    soon = tight.client.get(f"/models/m/silent?id={fresh_id}", headers={"x-request-timeout-ms": "50"})
    assert soon.status_code == 504
    assert soon.elapsed.total_seconds() < 0.5
    bad = tight.client.get("/models/m/whole/bad", headers={"x-request-timeout-ms": "soon"})
    assert (bad.status_code, bad.json()["field"]) == (400, "x-request-timeout-ms")
    for name in "ab":
        assert "/whole/bad" not in house.neighbours[name].state["hits"]  # refused before anything ran


def test_an_upload_may_take_longer_than_an_answer(house: House, tight: RouterProcess, fresh_id: str) -> None:
    with tight.wire() as wire:
        wire.ask("POST", f"/models/m/sink?id={fresh_id}", f"content-length: {10 * 40_000}")
        began = time.monotonic()
        for _ in range(10):  # 40 kB each 0.2 s: faster than the slowest allowed
            wire.send(bytes(40_000))
            until(later(0.2))
        assert wire.json()[2] == {"size": 400_000}
        assert time.monotonic() - began > 1.5
    with tight.wire() as wire:
        wire.ask("POST", f"/models/m/sink?id={fresh_id}", "content-length: 400000")
        wire.send(b"x")
        status, _, told = wire.json()
    assert (status, told["code"]) == (504, "receive_timeout")


def later(seconds: float) -> Callable[[], bool]:
    """True when so much time has passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def test_a_stream_that_falls_silent_is_ended(house: House, tight: RouterProcess, fresh_id: str) -> None:
    with tight.wire() as wire:
        path = f"/models/m/versions/2/sse?n=2&gate=1&id={fresh_id}"
        wire.ask("GET", path, f"x-request-id: {fresh_id}")
        wire.head()
        chunk(wire)
        assert wire.rest() == b""
    assert "silent" in house.record(fresh_id)["error"]
    until(lambda: fresh_id in house.neighbours["c"].state["left"])


def test_a_running_stream_ends_within_the_drain(house: House, tight: RouterProcess, fresh_id: str) -> None:
    """The last test of this router."""
    replica = house.neighbours["c"]
    with house.router("r2.drain", shutdown_ms=8000, drain_ms=100).wire() as wire:
        wire.ask("GET", f"/models/m/versions/2/sse?n=3&gate=1&id={fresh_id}", f"x-request-id: {fresh_id}")
        wire.head()
        chunk(wire)
        draining = house.routers[-1]
        draining.process.send_signal(signal.SIGTERM)
        until(lambda: "draining" in draining.log.read_text())
        until(lambda: refuses(draining))
        replica.open(fresh_id)
        assert wire.rest().endswith(b"0\r\n\r\n")
    assert draining.process.wait(10) == 0
    record = house.record(fresh_id)
    assert (record["status"], record["error"]) == (200, None)


def test_a_stream_that_outlasts_the_drain_is_cut_and_recorded(house: House, fresh_id: str) -> None:
    draining = house.router("r3.drain", shutdown_ms=1000, drain_ms=100)
    with draining.wire() as wire:
        wire.ask("GET", f"/models/m/versions/2/sse?n=3&gate=1&id={fresh_id}", f"x-request-id: {fresh_id}")
        wire.head()
        chunk(wire)
        draining.process.send_signal(signal.SIGTERM)
        assert not wire.rest().endswith(b"0\r\n\r\n")
    assert draining.process.wait(10) == 0
    assert house.record(fresh_id)["error"] == "the router shut down"


def refuses(router: RouterProcess) -> bool:
    try:
        httpx.get(f"{router.url}/livez", timeout=1, trust_env=False)
    except httpx.ConnectError:
        return True
    return False
