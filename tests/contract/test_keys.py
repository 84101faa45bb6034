"""An installation whose callers need keys: commands, both listeners, tokens, and no secret on disk."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtests.fleet import BIN, Fleet
from tests.access.issuing import AUDIENCE, ISSUER, Issuing
from tests.contract import toys
from tests.contract.asking import Data, record_of, refused, until

BODY = {"instances": [[1, 2, 3]]}


@dataclass(frozen=True, slots=True)
class Place:
    """An installation of two routers, and an issuer whose tokens it takes."""

    fleet: Fleet
    data: Data
    issuing: Issuing

    def cli(self, *words: str) -> Any:
        """A command that must succeed; its document."""
        done = self.fleet.cli("keys", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def key(self, name: str, *roles: str) -> tuple[str, str]:
        """Id and secret of a new key."""
        found = self.cli("create", name, *(word for role in roles for word in ("--role", role)))
        return found["key"]["id"], found["secret"]

    def control(self, secret: str, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """A request to the control listener."""
        headers = {"authorization": f"Bearer {secret}"}
        url = f"http://127.0.0.1:{self.fleet.control_port}/api/v1{path}"
        return httpx.request(method, url, headers=headers, timeout=20, **kwargs)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """`plain` 1 is active."""
    issuing = Issuing()
    jwks: Path = tmp_path_factory.mktemp("issuer") / "jwks.json"
    jwks.write_bytes(issuing.jwks())
    env = {
        "POINTSMAN_DATA_KEYS": "required",
        "POINTSMAN_JWT_ISSUER": ISSUER,
        "POINTSMAN_JWT_AUDIENCE": AUDIENCE,
        "POINTSMAN_JWT_JWKS": str(jwks),
        "POINTSMAN_JWT_ROLES_CLAIM": "realm_access.roles",
    }
    made = Fleet(routers=2, env=env)
    try:
        made.start(ready_s=30)
        toys.release(made, "plain", toys.identity())
        yield Place(made, Data(made), issuing)
    finally:
        made.remove()


def test_up_does_not_listen_for_others_without_keys(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::"):
        done = subprocess.run(
            [str(BIN / "pointsman"), "up", "--host", host, "--data-dir", str(tmp_path / "d"), "--port", "0"],
            env={"PATH": str(BIN), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "POINTSMAN_DATA_KEYS=required" in done.stderr
        assert not (tmp_path / "d").exists()


def test_a_caller_comes_in_with_its_key_alone(place: Place) -> None:
    key_id, secret = place.key("shop", "caller:pl*")
    for way in ({"authorization": f"Bearer {secret}"}, {"x_api_key": secret}):
        assert place.data.predict("plain", BODY, **way).json() == {"predictions": [[1.0, 2.0, 3.0]]}
    answer = place.data.predict("plain", BODY, authorization=f"Bearer {secret}", x_request_id="from-the-shop")
    assert answer.status_code == 200
    assert record_of(place.fleet, "from-the-shop")["principal"] == key_id
    refused(place.data.predict("plain", BODY), 401, "unauthorized")
    refused(place.data.predict("other", BODY, authorization=f"Bearer {secret}"), 403, "forbidden")
    refused(place.control(secret, "GET", "/models"), 403, "forbidden")
    assert place.data.send("/readyz", method="GET").status_code == 200


def test_the_key_of_the_data_directory_does_everything(place: Place) -> None:
    admin = (place.fleet.data_dir / "admin.key").read_text().strip()
    assert place.data.predict("plain", BODY, authorization=f"Bearer {admin}").status_code == 200
    assert place.control(admin, "GET", "/keys").status_code == 200


def test_commands_tell_what_the_api_tells(place: Place) -> None:
    key_id, first = place.key("app", "caller", "viewer:pl*")
    listed = place.cli("list")
    assert listed == place.fleet.ask("GET", "/keys")
    (mine,) = [each for each in listed["keys"] if each["name"] == "app"]
    assert mine["grants"] == [{"role": "caller", "models": "*"}, {"role": "viewer", "models": "pl*"}]
    table = place.fleet.cli("keys", "list").stdout
    assert key_id in table
    assert max(map(len, table.splitlines())) <= 80

    turned = place.cli("rotate", key_id, "--overlap", "1h")
    for secret in (first, turned["secret"]):
        assert place.data.predict("plain", BODY, authorization=f"Bearer {secret}").status_code == 200
    told = place.fleet.cli("keys", "revoke", key_id, "--reason", "it leaked")
    assert (told.returncode, "is revoked" in told.stdout) == (0, True)
    for _ in range(8):  # a connection each: both routers are asked
        for secret in (first, turned["secret"]):
            refused(place.data.predict("plain", BODY, authorization=f"Bearer {secret}"), 401, "unauthorized")
    again = place.fleet.cli("keys", "revoke", key_id)
    assert "already" in again.stdout
    wrong = place.fleet.cli("keys", "create", "x", "--role", "root")
    assert (wrong.returncode, "no role" in wrong.stderr) == (1, True)
    assert place.fleet.cli("keys", "create", "x").returncode == 2


def test_people_change_what_their_roles_allow(place: Place) -> None:
    _, secret = place.key("anna", "deployer:plain")
    promoted = place.control(secret, "POST", "/models/plain/promote", json={"version": "1"})
    assert promoted.status_code == 200, promoted.text
    refused(place.control(secret, "POST", "/models/other/promote", json={"version": "1"}), 403, "forbidden")
    refused(place.control(secret, "POST", "/models/plain/versions", json={}), 403, "forbidden")
    refused(place.control(secret, "POST", "/keys", json={}), 403, "forbidden")


def test_tokens_of_the_issuer_count_on_both_listeners(place: Place) -> None:
    def token(*roles: str, **claims: Any) -> str:
        return place.issuing.token(realm_access={"roles": ["offline_access", *roles]}, **claims)

    good = token("caller:plain", "viewer:plain")
    answer = place.data.predict("plain", BODY, authorization=f"Bearer {good}", x_request_id="by-token")
    assert answer.status_code == 200, answer.text
    assert record_of(place.fleet, "by-token")["principal"] == "oidc:anna"
    assert place.control(good, "GET", "/models/plain").status_code == 200
    refused(place.control(good, "POST", "/models/plain/promote", json={"version": "1"}), 403)
    assert (
        place.control(token("deployer"), "POST", "/models/plain/promote", json={"version": "1"}).status_code
        == 200
    )
    for bad in (
        token("caller", iss="https://other"),
        token("caller", exp=1),
        token("caller") + "x",
        "eyJ.e.x",
    ):
        refused(place.data.predict("plain", BODY, authorization=f"Bearer {bad}"), 401, "unauthorized")
        refused(place.control(bad, "GET", "/models"), 401, "unauthorized")
    refused(place.data.predict("plain", BODY, authorization=f"Bearer {token()}"), 403, "forbidden")


HEADERS = (
    *("authorization", "x-api-key", "proxy-authorization", "cookie", "x-request-id", "x-routing-key"),
    *("x-model-version", "x-request-timeout-ms", "content-type", "user-agent", "referer", "traceparent"),
    *("if-match", "accept", "forwarded", "x-forwarded-for", "inference-header-content-length"),
)
PATHS = ("/v1/models/plain:predict", "/v2/models/plain/infer", "/models/plain/readyz", "/v2/models/plain")


def test_no_secret_is_written_down_anywhere(place: Place) -> None:
    _, secret = place.key("planted", "caller", "viewer", "deployer")
    token = place.issuing.token(realm_access={"roles": ["caller"]})
    admin = (place.fleet.data_dir / "admin.key").read_text().strip()
    with httpx.Client(timeout=20, trust_env=False) as client:
        _plant(client, place, secret)
        _plant(client, place, token)
    place.fleet.cli("keys", "revoke", secret[:11], "--reason", f"it was {secret}")
    metrics = place.fleet.control.get("/metrics").text
    told = json.dumps(place.fleet.ask("GET", "/keys")) + json.dumps(place.fleet.records())
    # What is left in memory comes to disk with the end.
    needles = {"key": secret.rpartition("_")[2], "token": token.rpartition(".")[2], "admin": admin}
    for name in ("key", "token"):
        assert needles[name] not in metrics
        assert needles[name] not in told

    def journalled() -> bool:
        return b"after-the-plants" in b"".join(_read(place.fleet.data_dir / "journal"))

    place.data.predict("plain", BODY, authorization=f"Bearer {admin}", x_request_id="after-the-plants")
    until(journalled, 5)
    for path in place.fleet.folder.rglob("*"):
        if not path.is_file() or path.name == "admin.key":
            continue
        data = path.read_bytes()
        found = [name for name, needle in needles.items() if needle.encode() in data]
        assert not found, f"{found} in {path.relative_to(place.fleet.folder)}"


def _plant(client: httpx.Client, place: Place, secret: str) -> None:
    """In every header and field, with and without being let in by it."""
    own = f"Bearer {secret}"
    for path in PATHS:
        for header in HEADERS:
            for letting in ({}, {"authorization": own}):
                _ask(client, place.data.fleet.data + path, BODY, {**letting, header: secret})
                _ask(client, place.data.fleet.data + path, BODY, {**letting, header: own})
    for body in (
        {"instances": [[secret]]},
        {"inputs": {secret: 1}},
        {secret: 1},
        {"id": secret, "inputs": []},
        secret,
    ):
        for path in PATHS:
            _ask(client, place.data.fleet.data + path, body, {"authorization": own})
    for path in (
        f"/v1/models/{secret}:predict",
        f"/models/plain/{secret}",
        f"/{secret}",
        f"/v2/models/{secret}",
    ):
        _ask(client, place.data.fleet.data + path, BODY, {"authorization": own})
    control = f"http://127.0.0.1:{place.fleet.control_port}/api/v1"
    for path in (
        "/models",
        f"/models/{secret}",
        f"/requests/{secret}",
        "/models/plain/promote",
        f"/keys/{secret}/revoke",
    ):
        for header in HEADERS:
            for way in ("GET", "POST"):
                _ask(
                    client,
                    control + path,
                    {"version": "1", "reason": secret},
                    {"authorization": own, header: secret},
                    way,
                )
    changes: tuple[Any, ...] = (
        {"version": secret},
        {"name": secret, "grants": []},
        {"reason": secret, "version": "1"},
        {secret: secret},
    )
    for body in changes:
        for path in ("/models/plain/promote", "/models/plain/split", "/keys"):
            _ask(client, control + path, body, {"authorization": own})
            answer = place.fleet.control.post(path, json=body)
            assert answer.status_code < 500


def _ask(client: httpx.Client, url: str, body: Any, headers: dict[str, str], method: str = "POST") -> None:
    answer = client.request(method, url, json=body, headers=headers)
    assert answer.status_code < 500 or answer.status_code == 503, answer.text


def _read(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*.log")]
