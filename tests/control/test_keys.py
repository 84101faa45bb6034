"""Keys over HTTP: their life, who acknowledges it, what stands in the audit, and what never does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.clock import parse_rfc3339
from router.journal.reader import Reader
from router.registry.audit import broken_at
from router.registry.keys import KEYRING
from router.route.snapshot import Snapshot, save
from tests.control.installation import Installation
from tests.journal.conftest import RedisServer


def make(here: Installation, name: str = "shop", *roles: str, **others: Any) -> dict[str, Any]:
    """A key; the whole answer."""
    grants = [{"role": each} for each in roles or ("viewer",)]
    answer = here.post("/keys", {"name": name, "grants": grants} | others)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def by(here: Installation, secret: str, method: str, path: str, **kwargs: Any) -> httpx.Response:
    """A request with another key."""
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.request(method, f"{here.url}/api/v1{path}", headers=headers, timeout=10, **kwargs)


def test_a_key_is_shown_once_and_counts(here: Installation) -> None:
    found = make(here, expires="90d")
    key, secret = found["key"], found["secret"]
    assert secret.startswith(f"{key['id']}_")
    assert key | {"created": 0, "expires": 0} == {
        "id": key["id"],
        "name": "shop",
        "state": "active",
        "grants": [{"role": "viewer", "models": "*"}],
        "created": 0,
        "created_by": "admin",
        "expires": 0,
        "rotated": None,
        "overlap_ends": None,
        "revoked": None,
    }
    assert 89.9 < (parse_rfc3339(key["expires"]) - time.time()) / 86_400 < 90.1
    assert by(here, secret, "GET", "/models").status_code == 200
    listed = here.client.get("/keys")
    assert listed.json()["keys"] == [key]
    assert secret not in listed.text


def test_every_known_router_has_a_change_of_a_key(here: Installation) -> None:
    first, second = here.router("r0.a"), here.router("r1.b")
    found = make(here)
    assert found["routers"] == {"acknowledged": 2, "known": 2, "laggards": []}
    second.mute = True
    answer = here.post(f"/keys/{found['key']['id']}/revoke")
    assert answer.status_code == 202
    assert [each["id"] for each in answer.json()["routers"]["laggards"]] == [second.name]
    second.mute = False
    again = here.post(f"/keys/{found['key']['id']}/revoke", {})
    assert (again.status_code, again.json()["changed"]) == (200, False)
    assert first.name != second.name


def test_a_revoked_key_is_refused_here_too(here: Installation) -> None:
    found = make(here)
    assert here.post(f"/keys/{found['key']['id']}/revoke", {"reason": "lost"}).json()["changed"]
    answer = by(here, found["secret"], "GET", "/models")
    assert (answer.status_code, answer.json()["error"]) == (401, "the key was revoked")
    refused = here.post(f"/keys/{found['key']['id']}/rotate")
    assert (refused.status_code, refused.json()["code"]) == (409, "key_ended")


def test_a_rotation_leaves_the_old_secret_for_the_overlap(here: Installation) -> None:
    old = make(here)
    turned = here.post(f"/keys/{old['key']['id']}/rotate", {"overlap": "1h"}).json()
    assert turned["secret"] != old["secret"]
    assert turned["key"]["overlap_ends"] is not None
    for secret in (old["secret"], turned["secret"]):
        assert by(here, secret, "GET", "/models").status_code == 200
    last = here.post(f"/keys/{old['key']['id']}/rotate", {"overlap": "0s"}).json()
    assert last["key"]["overlap_ends"] is None
    for secret in (old["secret"], turned["secret"]):
        assert by(here, secret, "GET", "/models").status_code == 401
    assert by(here, last["secret"], "GET", "/models").status_code == 200


def test_two_keys_of_one_name_are_none_while_the_first_counts(here: Installation) -> None:
    first = make(here)
    again = here.post("/keys", {"name": "shop", "grants": [{"role": "viewer"}]})
    assert (again.status_code, again.json()["code"]) == (409, "key_exists")
    here.post(f"/keys/{first['key']['id']}/revoke")
    assert make(here)["key"]["id"] != first["key"]["id"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"name": "Shop"}, "bad_name", "name"),
        ({"name": "admin"}, "bad_input", "name"),
        ({"grants": []}, "bad_input", "grants"),
        ({"grants": [{"role": "root"}]}, "bad_input", "grants.0"),
        ({"grants": [{"role": "caller", "models": "A"}]}, "bad_input", "grants.0"),
        ({"expires": "yesterday"}, "bad_input", "expires"),
        ({"expires": "2020-01-01T00:00:00Z"}, "bad_input", "expires"),
        ({"expires": "99999d"}, "bad_input", "expires"),
        ({"expires": "0s"}, "bad_input", "expires"),
        ({"secret": "mine"}, "unknown_field", "secret"),
    ],
)
def test_what_is_no_key_is_refused(here: Installation, body: dict[str, Any], code: str, field: str) -> None:
    answer = here.post("/keys", {"name": "shop", "grants": [{"role": "viewer"}]} | body)
    assert answer.status_code == 400, answer.text
    assert (answer.json()["code"], answer.json()["field"]) == (code, field)
    assert here.client.get("/keys").json()["keys"] == []


@pytest.mark.parametrize("action", ["rotate", "revoke"])
@pytest.mark.parametrize("name", ["pm_zzzzzzzz", "zzzzzzzz", "pm_Z", "x" * 300])
def test_a_key_that_is_none(here: Installation, action: str, name: str) -> None:
    answer = here.post(f"/keys/{name}/{action}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_key")


def test_a_change_names_the_key_that_made_it(here: Installation) -> None:
    here.versions("digits", "1", "2")
    anna = make(here, "anna", "deployer")
    answer = by(here, anna["secret"], "POST", "/models/digits/promote", json={"version": "1"})
    assert answer.status_code == 200, answer.text
    entry = here.client.get("/models/digits/history").json()["history"][-1]
    assert entry["actor"] == "anna"
    chain = here.call(here.registry.audit_chain("digits"))
    assert (chain[-1]["actor"], chain[-1]["auth"]) == ("anna", f"key {anna['key']['id']}")
    with_admin = here.post("/models/digits/promote", {"version": "2"})
    assert with_admin.status_code == 200
    chain = here.call(here.registry.audit_chain("digits"))
    assert (chain[-1]["actor"], chain[-1]["auth"]) == ("admin", "key")


def test_the_life_of_keys_is_a_chain_without_a_secret(here: Installation) -> None:
    found = make(here, reason="for the shop")
    place = f"/keys/{found['key']['id']}"
    turned = here.post(f"{place}/rotate", {"reason": f"leaked: {found['secret']}"}).json()
    here.post(f"{place}/revoke")
    chain = here.call(here.registry.audit_chain(KEYRING))
    assert [each["action"] for each in chain] == ["key.create", "key.rotate", "key.revoke"]
    assert broken_at(chain) is None
    assert chain[0]["reason"] == "for the shop"
    assert chain[1]["reason"] == f"leaked: {found['key']['id']}_..."
    everything = str(chain) + str(here.call(here.registry.redis.hgetall("{pm}:keys")))
    for secret in (found["secret"], turned["secret"]):
        assert secret not in everything
        assert secret.rpartition("_")[2] not in everything


def test_pages_show_only_what_one_may_read(here: Installation) -> None:
    here.versions("digits", "1")
    here.versions("fraud-eu", "1")
    grants = [{"role": "viewer", "models": "fraud-*"}]
    secret = here.post("/keys", {"name": "eve", "grants": grants}).json()["secret"]
    assert [each["model"] for each in by(here, secret, "GET", "/models").json()["models"]] == ["fraud-eu"]
    status = by(here, secret, "GET", "/status").json()
    assert [each["model"] for each in status["models"]] == ["fraud-eu"]
    assert {each["model"] for each in status["replicas"]} == {"fraud-eu"}
    assert by(here, secret, "GET", "/models/digits").status_code == 403
    assert by(here, secret, "GET", "/models/absent").status_code == 403
    assert by(here, secret, "GET", "/models/fraud-us").status_code == 404


def test_records_are_shown_only_of_models_one_may_see(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{"request_id": "r", "model": "digits"}, {"request_id": "r", "model": "fraud-eu"}]
    monkeypatch.setattr(Reader, "find", lambda *_: records)
    monkeypatch.setattr(Reader, "get", lambda *_: None)
    grants = [{"role": "auditor", "models": "fraud-*"}]
    secret = here.post("/keys", {"name": "eve", "grants": grants}).json()["secret"]
    assert by(here, secret, "GET", "/requests/r").json()["requests"] == records[1:]
    assert by(here, secret, "GET", "/requests").status_code == 403
    assert by(here, secret, "GET", "/requests", params={"model": "digits"}).status_code == 403
    assert by(here, secret, "GET", "/requests", params={"model": "fraud-eu"}).status_code == 200
    records.pop()
    assert by(here, secret, "GET", "/requests/r").status_code == 404


def test_while_redis_is_away_a_key_counts_as_it_was_seen(redis_server: RedisServer, tmp_path: Path) -> None:
    with Installation(redis_server.url, tmp_path, ack_timeout_ms=200) as here:
        seen, unseen = make(here, "seen")["secret"], make(here, "unseen")["secret"]
        assert by(here, seen, "GET", "/openapi.json".removeprefix("/api")).status_code in (200, 404)
        redis_server.kill()
        assert here.client.get(f"{here.url}/metrics").status_code == 200
        assert (
            httpx.get(f"{here.url}/metrics", headers={"authorization": f"Bearer {seen}"}).status_code == 200
        )
        away = httpx.get(f"{here.url}/metrics", headers={"authorization": f"Bearer {unseen}"})
        assert (away.status_code, away.json()["code"]) == (503, "redis_away")


def test_keys_that_redis_lost_are_written_back(here: Installation) -> None:
    kept, ended = make(here, "kept"), make(here, "ended")
    here.post(f"/keys/{ended['key']['id']}/revoke")
    stored = here.call(here.registry.caller_keys())
    revision = here.call(here.registry.revision())
    save(
        here.settings.data_dir / "table.json",
        Snapshot(revision=revision, models=(), versions=(), keys=stored),
    )
    here.call(here.registry.redis.flushall())
    assert here.post("/registry/restore").json()["keys"] == 2
    assert by(here, kept["secret"], "GET", "/models").status_code == 200
    assert by(here, ended["secret"], "GET", "/models").status_code == 401
    again = here.call(here.registry.caller_keys())
    assert [key.id for key in again] == [key.id for key in stored]
    assert all(key.revision > revision for key in again)
    assert here.post("/registry/restore").json()["keys"] == 0
