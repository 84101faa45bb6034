"""The key of the control listener: nothing under /api/v1 answers without it, and the data listener has none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from loadtests.fleet import Fleet
from tests.contract.asking import Data, refused
from tests.contract.wire import Wire, post

PATHS = [
    ("GET", "/models"),
    ("GET", "/models/digits"),
    ("POST", "/models/digits/versions"),
    ("POST", "/models/digits/versions/1/deploy"),
    ("POST", "/models/digits/versions/3/undeploy"),
    ("POST", "/models/digits/promote"),
    ("POST", "/models/digits/rollback"),
    ("POST", "/models/digits/split"),
    ("GET", "/models/digits/history"),
    ("GET", "/requests"),
    ("GET", "/requests/some-id"),
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/routers"),
    ("DELETE", "/routers/r0.x"),
    ("GET", ""),
    ("GET", "/"),
    ("GET", "/nowhere"),
    ("PUT", "/models"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_under_the_api_answers_without_the_key(fleet: Fleet, method: str, path: str) -> None:
    key = (fleet.data_dir / "admin.key").read_text().strip()
    url = f"http://127.0.0.1:{fleet.control_port}/api/v1{path}"
    wrong: list[Any] = [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {key}x"},
        {"authorization": f"Bearer {key[:-1]}"},
        {"authorization": f"Basic {key}"},
        {"authorization": key},
        {"x-api-key": key},
        {"cookie": f"key={key}"},
    ]
    with httpx.Client(timeout=10) as client:
        for headers in wrong:
            body = refused(client.request(method, url, headers=headers, json={"version": "3"}), 401)
            assert key not in body["error"]
        refused(client.request(method, f"{url}?key={key}&authorization=Bearer%20{key}"), 401)


def test_a_host_header_does_not_open_the_api(fleet: Fleet) -> None:
    for host in ("x/livez?", "x/livez#", "127.0.0.1/livez"):
        with Wire(fleet.control_port) as wire:
            wire.send(f"GET /api/v1/models HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            refused(wire.reply(), 400, "bad_http")
    for path in (
        "/api/v1/models/../../../livez",
        "//api/v1/models",
        "/api/v1//models",
        "/livez/../api/v1/models",
    ):
        with Wire(fleet.control_port) as wire:
            wire.send(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            assert wire.reply().status in (400, 401)


def test_an_attempt_without_the_key_changes_nothing(fleet: Fleet) -> None:
    before = fleet.ask("GET", "/models/digits")["route"]
    with Wire(fleet.control_port) as wire:
        wire.send(post("/api/v1/models/digits/promote", b'{"version": "3"}'))
        assert wire.reply().status == 401
    assert fleet.ask("GET", "/models/digits")["route"] == before


def test_the_data_listener_has_no_control(data: Data, fleet: Fleet) -> None:
    key = (fleet.data_dir / "admin.key").read_text().strip()
    for path in ("/api/v1/models", "/api/v1/metrics", "/api/v1/models/digits/promote"):
        for method in ("GET", "POST"):
            refused(data.send(path, {"version": "3"}, method, authorization=f"Bearer {key}"), 404)
