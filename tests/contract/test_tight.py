"""An installation with small limits: slow callers, deadlines, overload, a replica that cannot start, the drain."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from loadtests.fleet import BIN, Fleet, free_ports
from tests.contract import toys
from tests.contract.asking import Data, record_of, refused, until
from tests.contract.wire import HEAD, Wire, post

RECEIVE_S = 0.6
GRACE_S = 1.5
PATH = "/v1/models/plain:predict"
GOOD = b'{"instances": [[1, 2, 3]]}'


@pytest.fixture(scope="module")
def tight() -> Iterator[Fleet]:
    """One router; 0.6 s to receive a body, two requests may wait for a version; `plain` and `slow`."""
    env = {"POINTSMAN_RECEIVE_TIMEOUT_MS": str(int(RECEIVE_S * 1e3)), "POINTSMAN_QUEUE_REQUESTS": "2"}
    made = Fleet(routers=1, env=env)
    try:
        made.start(ready_s=15)
        golden = {"n": np.array([1], np.int64), "out:y": np.array([1 / 400], np.float32)}
        toys.release(made, "plain", toys.identity())
        toys.release(made, "slow", toys.slow(), manifest={"rowwise": False}, golden=golden)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module", autouse=True)
def doomed(tight: Fleet) -> Iterator[Future[httpx.Response]]:
    """The deploy of an artifact that was altered; the agent tries for a while, beside the other tests."""
    alter(tight, "doomed")
    with ThreadPoolExecutor(1) as pool:
        place = "/models/doomed/versions/1/deploy"
        yield pool.submit(tight.control.post, place, params={"wait": 30}, json={})


@pytest.fixture(scope="module")
def data(tight: Fleet) -> Data:
    """Its data listener."""
    return Data(tight)


@pytest.fixture(scope="module")
def turns(data: Data) -> int:
    """How many turns `slow` needs for about a second and a half, on this machine now."""
    began = time.monotonic()
    assert data.predict("slow", {"inputs": [60]}).status_code == 200
    return max(60, int(60 * 1.5 / (time.monotonic() - began)))


def drip(wire: Wire, piece: bytes, seconds: float) -> threading.Thread:
    """Sends `piece` every 50 ms until the time is over or nobody takes it; runs beside the test."""
    end = time.monotonic() + seconds

    def run() -> None:
        while time.monotonic() < end:
            try:
                wire.send(piece)
            except OSError:
                return
            time.sleep(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_body_that_drips_is_given_up_at_the_deadline(data: Data) -> None:
    """More bytes do not move the deadline, and what comes after the answer is not taken for a request."""
    with Wire(data.port) as wire:
        began = time.monotonic()
        wire.send(HEAD % PATH.encode() + b"x-request-id: drip\r\ncontent-length: 100000\r\n\r\n")
        dripping = drip(wire, b" ", RECEIVE_S + 3)
        reply = wire.reply(RECEIVE_S + GRACE_S)
        assert RECEIVE_S * 0.8 < time.monotonic() - began < RECEIVE_S + GRACE_S
        refused(reply, reply.status)
        assert reply.status in (408, 504), reply
        assert reply.headers["x-request-id"] == "drip"
        assert wire.ended(1.5), "the caller may hold the connection, and drip on, for as long as it likes"
        dripping.join()
    assert record_of(data.fleet, "drip")["status"] == reply.status


def test_what_follows_a_body_given_up_is_not_taken_for_a_request(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(HEAD % PATH.encode() + b"content-length: 5000\r\n\r\n")
        assert wire.reply(RECEIVE_S + GRACE_S).status in (408, 504)
        try:
            wire.send(post(PATH, GOOD, "x-request-id: inner"))
        except OSError:
            return  # closed: nothing can be taken for anything
        with pytest.raises((ConnectionError, TimeoutError)):
            wire.reply(1.0)


def test_a_silent_body_is_given_up_at_the_deadline(data: Data) -> None:
    with Wire(data.port) as wire:
        wire.send(HEAD % PATH.encode() + b"transfer-encoding: chunked\r\n\r\n5\r\n     \r\n")
        assert wire.reply(RECEIVE_S + GRACE_S).status in (408, 504)


@pytest.mark.parametrize("piece", [b"x-a: b\r\n", b""])
def test_a_head_that_drips_is_given_up(data: Data, piece: bytes) -> None:
    """The deadline of receipt is absolute, for the head as for the body: else a thousand slow sockets stay."""
    with Wire(data.port) as wire:
        wire.send(b"POST %b HTTP/1.1\r\nhost: x\r\n" % PATH.encode())
        dripping = drip(wire, piece, 4)
        try:
            wire.reply(2.5)
        except ConnectionError:
            pass
        except TimeoutError:
            pytest.fail("a request line without end holds its connection")
        finally:
            wire.__exit__(None, None, None)
            dripping.join()


def test_slow_callers_do_not_hold_up_the_others(data: Data) -> None:
    slow = [Wire(data.port) for _ in range(100)]
    try:
        for wire in slow:
            wire.send(HEAD % PATH.encode() + b"content-length: 100000\r\n\r\n ")
        began = time.monotonic()
        for _ in range(20):
            assert data.send(PATH, GOOD).status_code == 200
        assert time.monotonic() - began < 3
    finally:
        for wire in slow:
            wire.__exit__(None, None, None)


def test_a_callers_own_deadline_ends_the_request(data: Data, turns: int) -> None:
    began = time.monotonic()
    answer = data.predict("slow", {"inputs": [turns]}, x_request_timeout_ms="200", x_request_id="late")
    assert time.monotonic() - began < 1.0
    assert answer.status_code in (503, 504)
    refused(answer, answer.status_code)
    assert answer.headers["x-model-version"] == "1"
    assert record_of(data.fleet, "late")["status"] == answer.status_code


def test_work_whose_time_is_over_is_dropped_not_computed(data: Data, turns: int) -> None:
    """It waits behind a call of a second and a half, and would take six: it reaches no replica."""
    until(lambda: data.predict("slow", {"inputs": [1]}).status_code == 200, 10)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(data.predict, "slow", {"inputs": [turns]})
        until(lambda: busy(data.fleet) == 1, 5)
        late = data.predict(
            "slow", {"inputs": [turns * 4]}, x_request_timeout_ms="300", x_request_id="expired"
        )
        refused(late, late.status_code)
        assert late.status_code in (503, 504)
        assert first.result().status_code == 200
    began = time.monotonic()
    assert data.predict("slow", {"inputs": [1]}).status_code == 200
    assert time.monotonic() - began < 1.0
    assert record_of(data.fleet, "expired")["attempts"] == []


def busy(fleet: Fleet) -> int:
    """Replicas of `slow` with an exchange under way."""
    text = fleet.control.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("pointsman_replicas_busy{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if 'model="slow"' in line)


def test_a_callers_deadline_also_bounds_the_receipt(data: Data) -> None:
    with Wire(data.port) as wire:
        began = time.monotonic()
        wire.send(HEAD % PATH.encode() + b"x-request-timeout-ms: 100\r\ncontent-length: 100\r\n\r\n")
        assert wire.reply(RECEIVE_S).status in (408, 504)
        assert time.monotonic() - began < RECEIVE_S


def test_what_is_over_the_queue_is_a_503_at_once(data: Data, turns: int) -> None:
    """One call is in the replica and two may wait: of six the others are told to come back."""
    until(lambda: data.predict("slow", {"inputs": [1]}).status_code == 200, 10)

    def ask(n: int) -> tuple[Any, float]:
        began = time.monotonic()
        answer = data.predict("slow", {"inputs": [max(turns // 4, 1)]}, x_request_id=f"queue-{n}")
        return answer, time.monotonic() - began

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    over = [(answer, took) for answer, took in found if answer.status_code != 200]
    served = len(found) - len(over)
    assert 3 <= served <= 4, [answer.status_code for answer, _ in found]  # the fourth: one ended meanwhile
    for answer, took in over:
        refused(answer, 503, "overloaded")
        assert answer.headers["x-model-version"] == "1"
        assert took < 1.0
    assert data.predict("slow", {"inputs": [1]}).status_code == 200


def test_another_version_is_served_while_one_is_overloaded(data: Data, turns: int) -> None:
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(data.predict, "slow", {"inputs": [max(turns // 4, 1)]})
        began = time.monotonic()
        assert data.send(PATH, GOOD).status_code == 200
        assert time.monotonic() - began < 1.0


def alter(fleet: Fleet, model: str) -> None:
    """Registers a model and then changes its stored bytes."""
    artifact = toys.identity(shape=[None, 5])
    assert toys.upload(fleet, model, artifact).status_code == 201
    store = fleet.data_dir / "bentoml"
    stored = [path for path in store.rglob("model.onnx") if path.read_bytes() == artifact]
    assert stored
    for path in stored:
        path.chmod(0o600)
        path.write_bytes(toys.identity(shape=[None, 6]))


def test_an_artifact_altered_after_registration_never_serves(
    data: Data, tight: Fleet, doomed: Future[httpx.Response]
) -> None:
    """Its replica refuses to start: deploy says why, the version is no target, a pin is a 503 not ready."""
    body = refused(doomed.result(40), 409)
    assert "SHA-256" in body["error"] or "altered" in body["error"]
    told = refused(tight.control.post("/models/doomed/promote", json={"version": "1"}), 409, "not_warm")
    assert "1" in told["error"]
    refused(data.predict("doomed", {"instances": [[1] * 5]}, x_model_version="1"), 503)
    undeployed = tight.control.post("/models/doomed/versions/1/undeploy", json={})
    assert undeployed.status_code in (200, 202), undeployed.text


def test_up_prints_one_document_and_a_busy_port_is_refused(tight: Fleet) -> None:
    """Last here: it stops the installation, in order, and starts it again on the same data."""
    routed = tight.ask("GET", "/models/plain")["route"]
    taken = tight.cli("up", "--data-dir", str(tight.folder / "other"), "--port", str(tight.port))
    assert taken.returncode == 1
    assert str(tight.port) in taken.stdout + taken.stderr
    began = time.monotonic()
    assert tight.stop() == 0
    assert time.monotonic() - began < 30
    port, control = free_ports(2)
    words = ["up", "--json", "--data-dir", str(tight.data_dir), "--host", "127.0.0.1"]
    words += ["--port", str(port), "--control-port", str(control), "--routers", "2"]
    process = subprocess.Popen(
        [str(BIN / "pointsman"), *words],
        env=tight.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        document = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        assert str(port) in document["data"]
        assert str(control) in document["control"]
        with Wire(port) as wire:  # ready means: what is routed is warm
            wire.send(post(PATH, GOOD))
            reply = wire.reply()
            assert (reply.status, reply.headers["x-route-epoch"]) == (200, str(routed["epoch"]))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
