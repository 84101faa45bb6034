"""A router whose callers need a key: one check on every way in, nothing travels on, changes count at once."""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest

from router.access.grant import Grant
from router.access.key import Key, revoked, rotated
from router.access.secret import digest, new_id, new_key
from router.clock import rfc3339
from router.registry.keyring import change_key
from tests.edge.house import ACTOR, House, RouterProcess, until

BODY = b'{"instances": [[1]]}'
PREDICT = "/v1/models/m:predict"
ASKS = [
    ("POST", PREDICT),
    ("POST", "/v1/models/m/versions/1:predict"),
    ("POST", "/v2/models/m/infer"),
    ("GET", "/models/m/whole"),
    ("POST", "/models/m/versions/2/whole"),
    ("POST", "/models/m/echo"),
    ("GET", "/v2/models/m"),
    ("GET", "/v2/models/m/ready"),
    ("GET", "/v1/models/m"),
    ("GET", "/v1/models/m/metadata"),
]
OF_ALL = [("GET", "/v2/models/stats"), ("POST", "/v2/repository/index")]
OPEN = ["/", "/openapi.json", "/livez", "/readyz", "/v2", "/v2/health/live", "/v2/health/ready"]


@pytest.fixture(scope="module")
def locked(house: House) -> RouterProcess:
    """A router of its own that asks for keys."""
    return house.router("r0.locked", data_keys="required")


def keep(house: House, key: Key) -> None:
    """Stores a key as it is."""
    house.registry(lambda registry: change_key(registry, lambda _: key, ACTOR, "create"))


def make(house: House, *grants: Grant, **others: Any) -> tuple[Key, str]:
    """A stored key and its secret."""
    key_id = new_id(secrets.choice)
    secret = new_key(key_id, secrets.choice)
    key = Key(
        id=key_id,
        name=f"k{key_id}",
        digest=digest(secret),
        grants=grants or (Grant("caller"),),
        created=rfc3339(time.time()),
        created_by="tester",
        **others,
    )
    keep(house, key)
    return key, secret


def status(router: RouterProcess, secret: str | None, method: str = "POST", path: str = PREDICT) -> int:
    """Of one request; a prediction of `m` that is let in finds that it takes no tensors: 404."""
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return router.client.request(method, path, headers=headers, content=BODY).status_code


@pytest.fixture(name="caller")
def fixture_caller(house: House, locked: RouterProcess) -> str:
    """A key for every model that counts on the router."""
    _, secret = make(house)
    until(lambda: status(locked, secret) != 401)
    return secret


@pytest.mark.parametrize(("method", "path"), ASKS + OF_ALL)
def test_nothing_is_told_without_a_key(locked: RouterProcess, caller: str, method: str, path: str) -> None:
    for wrong in (None, "wrong", caller[:-1] + ("a" if caller[-1] != "a" else "b"), caller[:12]):
        headers = {} if wrong is None else {"authorization": f"Bearer {wrong}"}
        answer = locked.client.request(method, path, headers=headers, content=BODY)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["x-request-id"]
        assert "x-model-version" not in answer.headers
    assert status(locked, caller, method, path) in (200, 400, 404)
    also = locked.client.request(method, path, headers={"x-api-key": caller}, content=BODY)
    assert also.status_code in (200, 400, 404)


@pytest.mark.parametrize("path", OPEN)
def test_health_and_the_name_of_the_server_need_no_key(locked: RouterProcess, path: str) -> None:
    assert locked.client.get(path).status_code in (200, 400, 503)


def test_an_unknown_path_is_nobodys_business(locked: RouterProcess, caller: str) -> None:
    assert status(locked, None, "GET", "/nowhere") == 401
    # To learn that there is nothing one must be allowed to look at everything.
    assert status(locked, caller, "GET", "/nowhere") == 404


@pytest.mark.parametrize(("method", "path"), ASKS)
def test_a_key_for_other_models_is_refused_alike_for_models_that_are_none(
    house: House, locked: RouterProcess, method: str, path: str
) -> None:
    _, secret = make(house, Grant("caller", "fraud-*"), Grant("admin", "n*"))
    until(lambda: status(locked, secret) == 403)
    headers = {"authorization": f"Bearer {secret}"}
    answer = locked.client.request(method, path, headers=headers, content=BODY)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert " of model m:" in answer.json()["error"]
    assert secret not in answer.text
    unknown = locked.client.post("/v1/models/fraud-x:predict", headers=headers, content=BODY)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_model")
    hidden = locked.client.post("/v1/models/hidden:predict", headers=headers, content=BODY)
    assert hidden.status_code == 403


@pytest.mark.parametrize(("method", "path"), OF_ALL)
def test_what_tells_of_all_models_needs_all_models(
    house: House, locked: RouterProcess, method: str, path: str
) -> None:
    _, secret = make(house, Grant("caller", "m*"))
    until(lambda: status(locked, secret) == 404)
    assert status(locked, secret, method, path) == 403


def test_a_viewer_looks_and_does_not_ask(house: House, locked: RouterProcess) -> None:
    _, secret = make(house, Grant("viewer"))
    until(lambda: status(locked, secret, "GET", "/v1/models/m") == 200)
    assert status(locked, secret) == 403
    assert status(locked, secret, "GET", "/models/m/whole") == 403


def test_the_record_names_the_key_and_keeps_nothing_of_who_may_not(
    house: House, locked: RouterProcess, caller: str, fresh_id: str
) -> None:
    headers = {"authorization": f"Bearer {caller}", "x-request-id": fresh_id}
    locked.client.post("/models/m/whole", headers=headers, content=b"hello")
    record = house.record(fresh_id)
    assert record["principal"] == caller[:11]
    for way, path in (("express", PREDICT), ("asgi", f"{PREDICT}?x=1"), ("pass", "/models/m/whole")):
        name = f"{fresh_id}-{way}"
        headers = {"authorization": "Bearer wrong", "x-request-id": name}
        assert locked.client.post(path, headers=headers, content=BODY).status_code == 401
        found = house.record(name)
        assert (found["status"], found["principal"]) == (401, None)
        assert found["payload"]["request"] is None
        assert found["version"] is None


@pytest.mark.parametrize("path", ["/models/m/whole", "/models/m/whole?nonce=1"])
def test_what_let_the_caller_in_does_not_travel_on(
    locked: RouterProcess, router: RouterProcess, caller: str, path: str
) -> None:
    def arrived(at: RouterProcess, *headers: tuple[str, str], chunked: bool = False) -> dict[str, str]:
        content = iter([b"x"]) if chunked else b"x"
        answer = at.client.post(path, headers=list(headers), content=content)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["headers"])

    bearer, own = ("authorization", f"Bearer {caller}"), ("authorization", "Bearer of-the-model")
    for chunked in (False, True):  # the one goes without ASGI
        assert "authorization" not in arrived(locked, bearer, chunked=chunked)
        both = arrived(locked, ("x-api-key", caller), own, chunked=chunked)
        assert "x-api-key" not in both
        assert both["authorization"] == own[1]
        # Nobody asked for it there, and it is a key of ours all the same.
        assert "authorization" not in arrived(router, bearer, chunked=chunked)
        assert arrived(router, own, ("x-api-key", "theirs"), chunked=chunked)["x-api-key"] == "theirs"


def test_a_tunnel_needs_a_key_too(locked: RouterProcess, caller: str) -> None:
    def shake(*headers: str) -> int:
        with locked.wire() as wire:
            wire.ask(
                "GET",
                "/models/m/ws",
                "connection: Upgrade",
                "upgrade: websocket",
                "sec-websocket-version: 13",
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
                *headers,
            )
            return wire.head()[0]

    assert shake() == 401
    assert shake("authorization: Bearer wrong") == 401
    assert shake(f"authorization: Bearer {caller}") == 101


def test_a_large_body_is_not_taken_in_from_who_has_no_key(locked: RouterProcess) -> None:
    with locked.wire() as wire:
        wire.ask("POST", PREDICT, f"content-length: {20 << 20}")
        code, _ = wire.head()
    assert code == 401


def test_a_known_head_is_refused_once_its_key_is_revoked(house: House, locked: RouterProcess) -> None:
    key, secret = make(house)
    until(lambda: status(locked, secret) == 404)
    with locked.wire() as wire:
        for _ in range(3):  # the third one needs no parser any more
            wire.ask("POST", PREDICT, f"authorization: Bearer {secret}", body=BODY)
            assert wire.json()[0] == 404
        keep(house, revoked(key, time.time()))
        until(lambda: status(locked, secret) == 401)
        wire.ask("POST", PREDICT, f"authorization: Bearer {secret}", body=BODY)
        code, _, told = wire.json()
    assert (code, told["error"]) == (401, "the key was revoked")


def test_a_known_head_is_refused_once_its_key_has_expired(house: House, locked: RouterProcess) -> None:
    ends = time.time() + 1.0
    _, secret = make(house, expires=rfc3339(ends))
    until(lambda: status(locked, secret) == 404, 0.9)
    until(lambda: status(locked, secret) == 401)
    assert ends <= time.time() < ends + 1.0


def test_both_secrets_count_while_they_overlap(house: House, locked: RouterProcess) -> None:
    key, old = make(house)
    new = new_key(key.id, secrets.choice)
    until(lambda: status(locked, old) == 404)
    keep(house, rotated(key, digest(new), 1.5, time.time()))
    until(lambda: status(locked, new) == 404)
    assert status(locked, old) == 404
    until(lambda: status(locked, old) == 401)
    assert status(locked, new) == 404


def test_load_needs_a_role_even_where_callers_need_no_key(house: House, router: RouterProcess) -> None:
    _, deployer = make(house, Grant("deployer", "m"))
    _, caller = make(house, Grant("caller"))
    path = "/v2/repository/models/m/load"
    assert status(router, None, "POST", path) == 401
    assert status(router, caller, "POST", path) == 403
    assert status(router, deployer, "POST", path) != 403
    assert status(router, deployer, "POST", "/v2/repository/models/other/load") == 403
