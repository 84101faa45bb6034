"""The limits of both listeners, made small: connections, rows, tensors, callers who send or read too slowly."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import orjson
import pytest

from loadtests.fleet import Fleet
from tests.contract import toys
from tests.contract.asking import Data, record_of, refused, until
from tests.contract.wire import HEAD, Wire, post

RECEIVE_S = 0.6
SEND_S = 1.0
REQUEST_S = 1.5
GRACE_S = 1.5
CONNECTIONS, OF_CALLER = 24, 16
PATH = "/v1/models/plain:predict"
GOOD = b'{"instances": [[1, 2, 3]]}'
LIVE = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def small() -> Iterator[Fleet]:
    """One router with small limits; `plain` and `many`."""
    settings = {
        "RECEIVE_TIMEOUT_MS": RECEIVE_S * 1e3,
        "SEND_TIMEOUT_MS": SEND_S * 1e3,
        "REQUEST_TIMEOUT_MS": REQUEST_S * 1e3,
        "CONNECTIONS": CONNECTIONS,
        "CALLER_CONNECTIONS": OF_CALLER,
        "REQUEST_ROWS": 5,
        "REQUEST_TENSORS": 3,
    }
    made = Fleet(routers=1, env={f"POINTSMAN_{name}": str(int(each)) for name, each in settings.items()})
    try:
        made.start(ready_s=15)
        toys.release(made, "plain", toys.identity())
        toys.release(made, "many", toys.many(), manifest=toys.many_manifest())
        yield made
    finally:
        made.remove()


@pytest.fixture
def data(small: Fleet) -> Data:
    """Its data listener."""
    return Data(small)


def counted(fleet: Fleet, name: str) -> float:
    """The sum of a series of the metrics page."""
    lines = fleet.control.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


# -- sizes of a request ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["instances", "inputs", "v2"])
def test_rows_are_limited(data: Data, form: str) -> None:
    for rows, status in ((5, 200), (6, 400)):
        if form == "v2":
            tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": [0] * rows * 3}
            answer = data.send("/v2/models/plain/infer", {"inputs": [tensor]}, x_request_id=f"rows-{rows}")
        else:
            answer = data.predict("plain", {form: [[1, 2, 3]] * rows}, x_request_id=f"rows-{rows}")
        assert answer.status_code == status, answer.text
    body = refused(answer, 400, "too_many_rows", "x")
    assert "the limit is 5" in body["error"]
    assert answer.headers["x-model-version"] == "1"


def test_tensors_are_limited(data: Data) -> None:
    row = {"i": 1, "u": 2, "l": 3, "g": 4, "f": 0.5, "d": 0.25, "s": "six", "b": True}
    body = refused(data.predict("many", {"instances": [row]}), 400, "too_many_tensors")
    assert "the limit is 3" in body["error"]


def test_depth_is_limited_in_both_protocols(data: Data) -> None:
    deep = b"[" * 70 + b"]" * 70
    for path in (PATH, "/v2/models/plain/infer"):
        for body in (
            b'{"instances": %b}' % deep,
            b'{"inputs": %b}' % deep,
            b'{"a": ' * 70 + b"1" + b"}" * 70,
        ):
            refused(data.send(path, body), 400, "too_deep")


# -- connections -------------------------------------------------------------------------------------------


class From(Wire):
    """A connection from an address of our own."""

    def __init__(self, port: int, address: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10, source_address=(address, 0))
        self._timeout = 10.0
        self._buffer = b""


def filled(stack: ExitStack, port: int, address: str, count: int) -> list[Wire]:
    """So many connections that are served; the place of one that closed is free a moment later."""
    found: list[Wire] = []
    end = time.monotonic() + 5
    while len(found) < count:
        wire = stack.enter_context(From(port, address))
        wire.send(LIVE)
        if wire.reply().status == 200:
            found.append(wire)
        assert time.monotonic() < end, f"{len(found)} of {count} connections are served"
    return found


def turned_away(port: int, address: str, status: int) -> None:
    """Told why at once, in the one form of all errors, and closed."""
    with From(port, address) as wire:
        reply = wire.reply(2.0)
        refused(reply, status, "too_many_connections")
        assert int(reply.headers["retry-after"]) > 0
        assert wire.ended()


def test_one_caller_cannot_take_all_connections(small: Fleet) -> None:
    with ExitStack() as stack:
        before = counted(small, "pointsman_connections_refused_total")
        kept = filled(stack, small.port, "127.0.0.2", OF_CALLER)
        for _ in range(3):
            turned_away(small.port, "127.0.0.2", 429)
        with From(small.port, "127.0.0.3") as other:
            other.send(post(PATH, GOOD))
            assert other.reply().status == 200
        for wire in kept:  # and those that are in stay in
            wire.send(post(PATH, GOOD))
            assert wire.reply().status == 200
        assert counted(small, "pointsman_connections_refused_total") >= before + 3
        assert counted(small, "pointsman_connections") >= OF_CALLER
    with ExitStack() as stack:  # whoever left made room
        filled(stack, small.port, "127.0.0.2", OF_CALLER)


def test_a_router_takes_so_many_connections_and_no_more(small: Fleet) -> None:
    with ExitStack() as stack:
        first = filled(stack, small.port, "127.0.0.2", OF_CALLER)
        filled(stack, small.port, "127.0.0.3", CONNECTIONS - OF_CALLER)
        turned_away(small.port, "127.0.0.4", 503)
        turned_away(small.port, "127.0.0.2", 503)
        first[0].__exit__(None, None, None)
        with ExitStack() as another:
            filled(another, small.port, "127.0.0.4", 1)
    assert until(lambda: counted(small, "pointsman_connections") < 2, 5)


def test_the_control_listener_has_its_own_bound(small: Fleet) -> None:
    with ExitStack() as stack:
        filled(stack, small.control_port, "127.0.0.2", 256)
        turned_away(small.control_port, "127.0.0.2", 429)
        assert small.ask("GET", "/models")["models"]


# -- slow callers ------------------------------------------------------------------------------------------


def drip(wire: Wire, seconds: float, piece: bytes = b" ") -> threading.Thread:
    """Sends a piece every 50 ms until the time is over or nobody takes it; runs beside the test."""
    end, over = time.monotonic() + seconds, threading.Event()

    def run() -> None:
        while time.monotonic() < end:
            try:
                wire.send(piece)
            except OSError:
                return
            over.wait(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("port", "path", "status", "seconds"),
    [
        ("data", PATH, 504, RECEIVE_S),
        ("data", "/v2/repository/index", 504, RECEIVE_S),
        ("data", "/models/plain/predict", 504, REQUEST_S),
        ("control", "/api/v1/models/plain/promote", 504, RECEIVE_S),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_drips_has_an_end_everywhere(
    small: Fleet, port: str, path: str, status: int, seconds: float, chunked: bool
) -> None:
    lines = (
        f"authorization: {small.control.headers['authorization']}\r\n".encode() if port == "control" else b""
    )
    lines += b"transfer-encoding: chunked\r\n\r\n" if chunked else b"content-length: 50000\r\n\r\n"
    with Wire(small.port if port == "data" else small.control_port) as wire:
        began = time.monotonic()
        wire.send(HEAD % path.encode() + lines)
        dripping = drip(wire, seconds + GRACE_S + 2, b"1\r\n \r\n" if chunked else b" ")
        reply = wire.reply(seconds + GRACE_S)
        assert seconds * 0.8 < time.monotonic() - began < seconds + GRACE_S
        refused(reply, status, "receive_timeout")
        assert wire.ended(RECEIVE_S + GRACE_S), "it may drip on for as long as it likes"
        dripping.join()


@pytest.mark.parametrize(
    ("port", "path", "status"),
    [
        ("data", "/v1/models/nobody:predict", 404),
        ("data", "/nowhere", 404),
        ("data", "/models/nobody/x", 404),
        ("control", "/api/v1/models/plain/promote", 401),
    ],
)
def test_the_rest_of_a_body_nobody_wants_has_an_end_too(
    small: Fleet, port: str, path: str, status: int
) -> None:
    with Wire(small.port if port == "data" else small.control_port) as wire:
        wire.send(HEAD % path.encode() + b"content-length: 1000000\r\n\r\n" + b" " * (70 << 10))
        dripping = drip(wire, RECEIVE_S + GRACE_S + 2)
        assert wire.reply(RECEIVE_S + GRACE_S).status in (status, 504)
        assert wire.ended(RECEIVE_S + GRACE_S), "it may drip on for as long as it likes"
        dripping.join()


@pytest.mark.parametrize("port", ["data", "control"])
def test_a_head_that_drips_has_an_end(small: Fleet, port: str) -> None:
    with Wire(small.port if port == "data" else small.control_port) as wire:
        wire.send(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-a: ")
        dripping = drip(wire, RECEIVE_S + GRACE_S + 2, b"a")
        refused(wire.reply(RECEIVE_S + GRACE_S), 408, "head_timeout")
        assert wire.ended()
        dripping.join()


def test_a_caller_who_does_not_read_is_let_go(data: Data) -> None:
    """It asks for more than fits between us, again and again, and takes nothing: no place is kept for it."""
    until(lambda: counted(data.fleet, "pointsman_connections") < 2, 5)
    asked = post(
        "/v2/models/plain/infer",
        orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [5, 3], "data": [1 / 3] * 15}]}),
    )
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", data.port))
        slow.settimeout(0.2)
        try:
            for _ in range(30_000):
                slow.sendall(asked)
        except OSError:
            pass  # neither side takes anything any more
        until(lambda: counted(data.fleet, "pointsman_connections") < 2, SEND_S + RECEIVE_S + 4)
    assert data.send(PATH, GOOD).status_code == 200


def test_a_callers_time_is_at_most_the_servers(data: Data) -> None:
    with Wire(data.port) as wire:
        began = time.monotonic()
        wire.send(
            HEAD % b"/models/plain/predict"
            + b"x-request-id: long\r\nx-request-timeout-ms: 3600000\r\ncontent-length: 10\r\n\r\n"
        )
        assert wire.reply(REQUEST_S + GRACE_S).status == 504
        assert time.monotonic() - began < REQUEST_S + GRACE_S
    assert record_of(data.fleet, "long")["status"] == 504
