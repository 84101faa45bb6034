"""WebSockets through the tunnel, and what must not come through it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.edge.house import House, Neighbour, RouterProcess, until

ASK = (
    "connection: keep-alive, Upgrade",
    "upgrade: WebSocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Socket:
    """A WebSocket client on a raw connection."""

    def __init__(self, router: RouterProcess, path: str, *headers: tuple[bytes, bytes]) -> None:
        self.wire = router.wire()
        self._state = WSConnection(ConnectionType.CLIENT)
        request = Request(host="gate.test", target=path, extra_headers=list(headers))
        self.wire.send(self._state.send(request))
        self._events: Iterator[Event] = iter(())

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.socket.close()

    def next(self) -> Event:
        """The next event; ConnectionError at the end."""
        while (event := next(self._events, None)) is None:
            data = self.wire.socket.recv(1 << 16)
            if not data:
                raise ConnectionError
            self._state.receive_data(data)
            self._events = self._state.events()
        return event

    def opened(self) -> dict[bytes, list[bytes]]:
        """The headers of the accepted handshake."""
        event = self.next()
        assert isinstance(event, AcceptConnection), event
        found: dict[bytes, list[bytes]] = {}
        for name, value in event.extra_headers:
            found.setdefault(name, []).append(value)
        return found

    def send(self, event: Event) -> None:
        """Sends one event."""
        self.wire.send(self._state.send(event))

    def message(self) -> bytes | str:
        """A whole message."""
        parts: list[Any] = []
        while True:
            event = self.next()
            assert isinstance(event, BytesMessage | TextMessage), event
            parts.append(bytes(event.data) if isinstance(event, BytesMessage) else event.data)
            if event.message_finished:
                return b"".join(parts) if isinstance(parts[0], bytes) else "".join(map(str, parts))


def test_messages_go_both_ways_and_the_caller_closes(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    left = sum(house.neighbours[name].state["left"].count("socket") for name in "ab")
    with Socket(router, "/models/m/ws?a=1", (b"x-request-id", fresh_id.encode())) as ws:
        headers = ws.opened()
        assert headers[b"x-request-id"] == [fresh_id.encode()]
        assert headers[b"x-model-version"] == [b"1"]  # the replica's own claim is gone
        assert headers[b"x-route-reason"] == [b"active"]
        for text in ("a", "ä", "x" * 1000):
            ws.send(TextMessage(text))
            assert ws.message() == text
        ws.send(CloseConnection(1000))
        with pytest.raises(ConnectionError):
            until(lambda: isinstance(ws.next(), ConnectionError))
    until(lambda: sum(house.neighbours[name].state["left"].count("socket") for name in "ab") == left + 1)
    record = house.record(fresh_id)
    assert (record["status"], record["protocol"], record["error"]) == (101, "upgrade", None)
    assert record["bytes"]["in"] > 1000
    assert record["bytes"]["out"] > 1000
    assert record["attempts"][0]["status"] == 101


def test_a_big_message_is_whole_and_memory_stays(router: RouterProcess) -> None:
    data = os.urandom(12_000_000)
    with Socket(router, "/models/m/ws") as ws:
        ws.opened()
        ws.send(BytesMessage(data[:3_000_000]))
        assert ws.message() == data[:3_000_000]
        with router.growth() as growth:
            ws.send(BytesMessage(data))
            assert ws.message() == data
    assert growth[0] < 4 << 20


def test_the_replica_closes(house: House, router: RouterProcess, fresh_id: str) -> None:
    with Socket(router, "/models/m/versions/2/ws", (b"x-request-id", fresh_id.encode())) as ws:
        assert ws.opened()[b"x-model-version"] == [b"2"]
        ws.send(TextMessage("end"))
        event = ws.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 4001
        ws.send(event.response())
        with pytest.raises(ConnectionError):
            ws.next()
    assert house.record(fresh_id)["error"] is None


def test_a_hang_up_reaches_the_other_side(house: House, router: RouterProcess, fresh_id: str) -> None:
    left = house.neighbours["c"].state["left"].count("socket")
    with Socket(router, "/models/m/versions/2/ws", (b"x-request-id", fresh_id.encode())) as ws:
        ws.opened()
    until(lambda: house.neighbours["c"].state["left"].count("socket") == left + 1)
    house.record(fresh_id)


def test_a_refusal_is_passed_on_and_ends_the_connection(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    with Socket(router, "/models/m/refuse", (b"x-request-id", fresh_id.encode())) as ws:
        event = ws.next()
        assert isinstance(event, RejectConnection)
        assert event.status_code == 403
        assert dict(event.headers)[b"x-model-version"] == b"1"
        refusal: Event = event
        while not isinstance(refusal, RejectData) or not refusal.body_finished:
            refusal = ws.next()
        with pytest.raises(ConnectionError):
            ws.next()
    record = house.record(fresh_id)
    assert (record["status"], record["protocol"]) == (403, "upgrade")


@pytest.fixture(scope="module")
def plain(house: House) -> Neighbour:
    """Model `plain`: its replica knows no WebSockets."""
    made = house.neighbours["plain"] = Neighbour(house.folder, "plain", "--ws", "none")
    house.add_version("plain", "1")
    house.seat("plain", "1", "plain")
    house.promote("plain", "1")
    return made


@pytest.mark.parametrize("path", ["whole?nonce=1", "whole?nonce=1&code=404", "big?n=100000"])
def test_a_replica_that_does_not_switch_gets_no_second_request(
    plain: Neighbour, router: RouterProcess, path: str
) -> None:
    """Else anything could be said to it: forged headers, its internal front, pickles."""
    with router.wire() as wire:
        wire.ask("GET", f"/models/plain/{path}", *ASK)
        wire.send(b"POST /hidden HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        status, headers = wire.head()
        assert (status in (200, 404), headers["connection"]) == (True, "close")
        body = wire.rest()
        wire.send_quietly(b"POST /hidden HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    if "nonce" in path:
        assert json.loads(body)["nonce"] == "1"
        assert dict(json.loads(body)["headers"])["upgrade"] == "websocket"
    else:
        assert body.endswith(b"0\r\n\r\n")
        assert len(body) > 100_000
    assert "/hidden" not in plain.state["hits"]


@pytest.mark.parametrize(
    ("path", "lines", "status", "code"),
    [
        ("/models/none/ws", (), 404, "unknown_model"),
        ("/models/m/_pm/ws", (), 404, "unknown_path"),
        ("/models/m//%5Fpm/ws", (), 404, "unknown_path"),
        ("/models/m/versions/1/ws", ("x-model-version: 2",), 400, "pin_mismatch"),
        ("/models/m/ws", ("content-type: application/x-pickle",), 415, "unsupported_media_type"),
        ("/models/m/ws", ("x-request-timeout-ms: 0",), 400, "bad_header"),
        ("/models/m/ws", ("content-length: 3",), 400, "bad_upgrade"),
        ("/models/m/ws", ("transfer-encoding: chunked",), 400, "bad_upgrade"),
    ],
)
def test_errors_come_in_our_form(
    house: House,
    router: RouterProcess,
    fresh_id: str,
    path: str,
    lines: tuple[str, ...],
    status: int,
    code: str,
) -> None:
    with router.wire() as wire:
        wire.ask("GET", path, *ASK, *lines, f"x-request-id: {fresh_id}")
        if code == "bad_upgrade":
            wire.send(b"0\r\n\r\n")
        got, headers, told = wire.json()
        assert (got, told["code"]) == (status, code)
        assert headers["x-request-id"] == fresh_id
        assert wire.rest() == b""
    assert house.record(fresh_id)["status"] == status


def test_another_kind_of_upgrade_is_not_offered_to_the_replica(
    plain: Neighbour, router: RouterProcess
) -> None:
    with router.wire() as wire:
        wire.ask("GET", "/models/plain/whole", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c")
        told = wire.json()[2]
    assert not {name for name, _ in told["headers"]} & {"upgrade", "connection", "http2-settings"}
    with router.wire() as wire:
        wire.ask("GET", "/models/plain/whole", "connection: Upgrade", "upgrade: h2c", "upgrade: websocket")
        headers = wire.head()[1]
        told = json.loads(wire.exactly(int(headers["content-length"])))
    assert [value for name, value in told["headers"] if name == "upgrade"] in ([], ["websocket"])


def test_a_silent_handshake_ends_with_the_deadline_or_the_caller(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    with router.wire() as wire:
        wire.ask("GET", "/models/m/silent?id=ws", *ASK, "x-request-timeout-ms: 100")
        assert wire.json()[2]["code"] == "deadline_exceeded"
    with router.wire() as wire:
        wire.ask("GET", f"/models/m/silent?id={fresh_id}", *ASK, f"x-request-id: {fresh_id}")
        until(lambda: any("/silent" in house.neighbours[name].state["hits"][-3:] for name in "ab"))
    assert house.record(fresh_id)["status"] == 499


def test_open_tunnels_end_with_the_router(house: House, fresh_id: str) -> None:
    draining = house.router("r4.tunnel", shutdown_ms=1000, drain_ms=100)
    with Socket(draining, "/models/m/ws", (b"x-request-id", fresh_id.encode())) as ws:
        ws.opened()
        draining.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionError):
            ws.next()
    assert draining.process.wait(10) == 0
    assert house.record(fresh_id)["error"] == "the router shut down"
