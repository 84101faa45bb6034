"""Streams and WebSockets over TLS, and the place of a tunnel among a router's connections."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from wsproto.events import CloseConnection, TextMessage

from router.trust import knowing
from tests.contract.certificates import self_signed
from tests.edge.house import House, RouterProcess, Wire, until
from tests.edge.test_tunnel import Socket

PLACES = 4


class SecureRouter(RouterProcess):
    """A router that serves HTTPS."""

    trust: ssl.SSLContext

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            url = f"https://127.0.0.1:{self.port}/readyz"
            return httpx.get(url, timeout=2, verify=self.trust).status_code == 200
        except httpx.TransportError:
            return False

    def wire(self, receive_buffer: int | None = None) -> Wire:
        """A raw connection inside TLS."""
        made = super().wire(receive_buffer)
        made.socket = self.trust.wrap_socket(made.socket)
        return made


@pytest.fixture(scope="module")
def secure(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    """With few places for connections."""
    pair = self_signed(tmp_path_factory.mktemp("tls"), "router", "DNS:router")
    SecureRouter.trust = knowing(pair.cert)
    made = SecureRouter(house, "r0.tls", tls_cert=pair.cert, tls_key=pair.key, connections=PLACES)
    yield made
    made.stop()


def open_connections(router: RouterProcess) -> int:
    """As the router counts them."""
    path = str(router.house.folder / f"{router.name}.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
        gauges: list[Any] = client.get("http://router/metrics.json").json()["gauges"]
    (rows,) = [each[3] for each in gauges if each[0] == "pointsman_connections"]
    return int(rows[0][1])


def test_messages_and_streams_go_through_tls(secure: RouterProcess) -> None:
    with Socket(secure, "/models/m/ws") as ws:
        ws.opened()
        ws.send(TextMessage("hello " * 50_000))
        assert ws.message() == "hello " * 50_000
        ws.send(CloseConnection(1000))
    with secure.wire() as wire:
        wire.ask("POST", "/models/m/echo", body=b"x" * 300_000)
        status, headers = wire.head()
        assert status == 200
        assert headers["x-model-version"] == "1"


FORGED = (
    "x-forwarded-proto: http",
    "x-forwarded-for: 1.2.3.4",
    "x-forwarded-prefix: /elsewhere",
    "x-forwarded-host: elsewhere",
    "forwarded: for=1.2.3.4;proto=http",
    "x-real-ip: 1.2.3.4",
    "x-route-reason: forged",
    "x-route-epoch: 99999",
    "x-route-stale: 1",
    "connection: keep-alive, x-named, host, content-length",
    "x-named: forged",
    "keep-alive: timeout=9",
    "te: trailers",
    "proxy-authorization: Basic forged",
    "trailer: x-forged",
)


@pytest.mark.parametrize("size", [5, 100 << 10], ids=["the short way", "by ASGI"])
def test_forged_headers_end_here_and_ours_are_set(secure: RouterProcess, size: int) -> None:
    with secure.wire() as wire:
        wire.ask("POST", "/models/m/whole", *FORGED, "x-kept: yes", body=b"1" * size)
        status, headers, document = wire.json()
    seen = dict(document["headers"])
    assert (status, document["size"]) == (200, size)
    assert "forged" not in str(seen)
    ours = {name: seen.get(name) for name in ("x-forwarded-proto", "x-forwarded-for", "x-forwarded-prefix")}
    assert ours == {
        "x-forwarded-proto": "https",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-prefix": "/models/m",
    }
    gone = {line.partition(":")[0] for line in FORGED} - ours.keys() - {"x-route-reason", "x-route-epoch"}
    assert not gone & seen.keys()
    assert (seen["x-kept"], seen["host"], seen["x-route-reason"]) == ("yes", "gate.test", "active")
    assert seen["x-request-id"] == headers["x-request-id"]
    assert seen["x-route-epoch"] == headers["x-route-epoch"] != "99999"


def test_a_tunnel_keeps_its_place_until_it_is_closed(secure: RouterProcess) -> None:
    until(lambda: open_connections(secure) == 0)
    tunnels = [Socket(secure, "/models/m/ws") for _ in range(PLACES)]
    for each in tunnels:
        each.opened()
    assert open_connections(secure) == PLACES
    with secure.wire() as wire:
        assert wire.json()[0] == 503
    for each in tunnels:
        each.wire.socket.close()
    until(lambda: open_connections(secure) == 0)
    with Socket(secure, "/models/m/ws") as ws:
        ws.opened()
