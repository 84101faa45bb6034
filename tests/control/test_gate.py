"""The key in front of everything, and the one form of all errors."""

from __future__ import annotations

import http.client

import httpx
import pytest

from tests.control.installation import KEY, Installation

BAD = [
    {},
    {"authorization": "Bearer wrong"},
    {"authorization": f"Basic {KEY}"},
    {"authorization": KEY},
    {"authorization": f"Bearer {KEY}x"},
    {"authorization": b"Bearer \xff"},
]


@pytest.mark.parametrize("headers", BAD)
@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/nothing/here", "/metrics", "/elsewhere"])
def test_nothing_without_the_key(here: Installation, headers: dict[str, str], path: str) -> None:
    answer = httpx.get(f"{here.url}{path}", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_change_without_the_key_is_none(here: Installation) -> None:
    here.versions("digits", "1")
    answer = httpx.post(f"{here.url}/api/v1/models/digits/promote", json={"version": "1"})
    assert answer.status_code == 401
    assert here.call(here.registry.model_state("digits")).route is None


def test_two_keys_are_none(here: Installation) -> None:
    headers = [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer wrong")]
    assert httpx.get(f"{here.url}/api/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_needs_no_key(here: Installation, path: str) -> None:
    assert httpx.get(f"{here.url}{path}").status_code == 200


def test_a_host_header_does_not_open_the_gate(here: Installation) -> None:
    host, port = here.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.putrequest("GET", "/api/v1/models", skip_host=True)
    connection.putheader("host", "x/livez?")
    connection.endheaders()
    assert connection.getresponse().status == 400  # that is no host
    connection.close()


def test_no_such_path_and_no_such_method(here: Installation) -> None:
    absent = here.client.get("/nothing/here")
    assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
    wrong = here.client.put("/models")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]
    slash = here.client.get("/models/")
    assert slash.status_code == 404


def test_bodies_that_are_none(here: Installation) -> None:
    place = "/models/digits/promote"
    broken = here.client.post(place, content=b'{"version": NaN}')
    assert (broken.status_code, broken.json()["code"]) == (400, "bad_json")
    deep = here.client.post(place, content=b"[" * 100_000)
    assert (deep.status_code, deep.json()["code"]) == (400, "bad_json")
    large = here.client.post(place, content=b" " * (2 << 20))
    assert (large.status_code, large.json()["code"]) == (413, "too_large")


def test_unknown_query_parameters_are_named(here: Installation) -> None:
    answer = here.client.get("/models", params={"lmit": "1"})
    assert (answer.status_code, answer.json()["field"]) == (400, "lmit")
