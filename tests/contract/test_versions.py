"""Registration, deployment and the end of it: what is taken in, what is refused, and that no route moves."""

from __future__ import annotations

import hashlib
import select
import socket
from typing import Any

import httpx
import pytest

from loadtests.fleet import Fleet
from tests.contract import toys
from tests.contract.asking import Data, change, changed, refused, route, until

REFUSED = "refused-model"
ROW = {"instances": [[1, 2, 3]]}


def models(fleet: Fleet) -> set[str]:
    """The names of all models."""
    return {each["model"] for each in fleet.ask("GET", "/models")["models"]}


def test_a_version_is_never_overwritten(fleet: Fleet) -> None:
    before = fleet.ask("GET", "/models/plain")
    other = toys.one_node("Neg")
    refused(toys.upload(fleet, "plain", other, version="1"), 409, "version_exists")
    written = {"model": "plain", "version": "1"}
    refused(toys.upload(fleet, "plain", other, manifest=written), 409, "version_exists")
    assert fleet.ask("GET", "/models/plain")["versions"] == before["versions"]


def test_registering_and_deploying_change_no_route(fleet: Fleet, data: Data) -> None:
    """Neither a name nor a higher number makes a version the default; the sender's file name is no path."""

    def seen() -> Any:
        answer = data.predict("plain", {"instances": [[1, 2, 3]]})
        return route(fleet, "plain"), answer.headers["x-model-version"], answer.json()

    before = seen()
    named = toys.upload(fleet, "plain", toys.one_node("Neg"), version="v-2.1_x")
    numbered = toys.upload(fleet, "plain", toys.identity(), filename="../../../tmp/pm-escaped.onnx")
    for made, version, artifact in (
        (named, "v-2.1_x", toys.one_node("Neg")),
        (numbered, "2", toys.identity()),
    ):
        assert made.status_code == 201, made.text
        document = made.json()
        assert (document["model"], document["version"]) == ("plain", version)
        assert document["digest"] == hashlib.sha256(artifact).hexdigest()
        assert document["signature"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert not list(fleet.folder.parent.glob("pm-escaped*"))
    assert seen() == before
    fleet.ask("POST", "/models/plain/versions/v-2.1_x/deploy", params={"wait": 60}, json={"replicas": 1})
    assert seen() == before
    pinned = data.predict("plain", {"instances": [[1, 2, 3]]}, x_model_version="v-2.1_x")
    assert pinned.json() == {"predictions": [[-1.0, -2.0, -3.0]]}
    undeploy(fleet, "plain", "v-2.1_x")
    assert seen() == before


def undeploy(fleet: Fleet, model: str, version: str, **body: Any) -> None:
    """An undeploy that must be done."""
    answer = fleet.control.post(f"/models/{model}/versions/{version}/undeploy", json=body)
    assert answer.status_code in (200, 202), answer.text


@pytest.mark.parametrize(
    ("artifact", "options"),
    [
        (b"no model", {}),
        (b"", {}),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.", {}),
        (toys.identity()[:-20], {}),
        (toys.unknown_operator(), {}),
        (toys.outside("../../../etc/passwd"), {}),
        (toys.outside("/etc/passwd"), {}),
        (toys.tar_with_link("w.bin", "/etc/passwd"), {"filename": "m.tar"}),
        (toys.tar({"../model.onnx": toys.identity()}), {"filename": "m.tar"}),
        (toys.tar({"readme.txt": b"nothing"}), {"filename": "m.tar"}),
        (toys.identity(), {"manifest": {"artifacts": [{"path": "model.onnx", "sha256": "0" * 64}]}}),
        (toys.centring(), {"manifest": {"rowwise": True}}),
        (
            toys.identity(),
            {"manifest": {}, "golden": {"x": [[1.0, 2.0, 3.0]], "out:y": [[1.0, 2.0, 4.0]]}},
        ),
        (
            toys.identity(),
            {
                "manifest": {
                    "signature": {
                        "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1, 3]}],
                        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
                    }
                }
            },
        ),
    ],
    ids=[
        "text",
        "empty",
        "pickle",
        "truncated",
        "unknown-operator",
        "external-data-above",
        "external-data-absolute",
        "tar-with-link",
        "tar-that-climbs",
        "tar-without-model",
        "altered",
        "not-rowwise",
        "wrong-golden",
        "wrong-signature",
    ],
)
def test_an_artifact_that_is_not_right_is_refused_with_the_reason(
    fleet: Fleet, artifact: bytes, options: dict[str, Any]
) -> None:
    body = refused(toys.upload(fleet, REFUSED, artifact, **options), 400)
    assert len(body["error"]) > 10
    assert str(fleet.data_dir) not in body["error"]
    assert REFUSED not in models(fleet)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"version": "../2"}, "version"),
        ({"version": "A"}, "version"),
        ({"version": "-1"}, "version"),
        ({"version": "x" * 64}, "version"),
        ({"manifest": {"version": "../../x"}}, "version"),
        ({"manifest": {"version": "2"}, "version": "3"}, "version"),
        ({"manifest": {"model": "another"}}, None),
        ({"manifest": b"\tno: [yaml"}, None),
        ({"manifest": b"- a list\n"}, None),
        ({"manifest": b"!!python/object/apply:os.system ['true']\n"}, None),
        ({"manifest": b"kind: Deployment\n"}, None),
        ({"manifest": {"signature": {"inputs": [], "outputs": []}}}, None),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_form_or_manifest_that_is_not_right_is_refused(
    fleet: Fleet, options: dict[str, Any], field: str | None
) -> None:
    refused(toys.upload(fleet, REFUSED, toys.identity(), **options), 400, None, field)
    assert REFUSED not in models(fleet)


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc", "A", "-a", ".hidden", "x" * 64, "a%20b", "a%00b", "%2e%2e"]
)
def test_a_name_that_is_none_is_refused(fleet: Fleet, name: str) -> None:
    before = models(fleet)
    answer = toys.upload(fleet, name, toys.identity())
    assert answer.status_code in (400, 404, 405), answer.text
    assert models(fleet) == before


def test_no_url_and_no_path_of_the_server_is_taken(fleet: Fleet) -> None:
    """A listener of our own stands where the URL leads: nobody may come."""
    with socket.create_server(("127.0.0.1", 0)) as bait:
        url = f"http://127.0.0.1:{bait.getsockname()[1]}/model.onnx"
        place = f"/models/{REFUSED}/versions"
        for value in (url, "file:///etc/hostname", "/etc/hostname"):
            for name in ("artifact", "url", "path", "bento", "uri", "source"):
                answer = fleet.control.post(place, json={name: value})
                assert answer.status_code >= 400, (name, answer.status_code, answer.text)
                assert name == "bento" or answer.status_code == 400, (name, answer.text)
            text = fleet.control.post(place, files={"artifact": (None, value)})
            assert text.status_code == 400, text.text
            refused(fleet.control.post(place, files={"url": (None, value)}), 400)
        assert not select.select([bait], [], [], 0)[0], "somebody fetched the URL"
    assert REFUSED not in models(fleet)


def test_a_bento_that_is_not_in_the_store_is_refused(fleet: Fleet) -> None:
    answer = fleet.control.post(f"/models/{REFUSED}/versions", json={"bento": "no-such-bento:1"})
    assert answer.status_code in (400, 404), (answer.status_code, answer.text)


@pytest.mark.parametrize("body", [b"", b"{}", b"{", b"[]", b'{"bento": 5}'])
def test_json_that_names_no_bento_is_refused(fleet: Fleet, body: bytes) -> None:
    answer = fleet.control.post(
        f"/models/{REFUSED}/versions", content=body, headers={"content-type": "application/json"}
    )
    refused(answer, 400)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/plain", b"hello"),
        ("multipart/form-data", b"hello"),
        ("multipart/form-data; boundary=b", b"hello"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\ncontent-disposition: form-data; name=artifact; filename=a\r\n\r\nx",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\ncontent-disposition: form-data; name=version\r\n\r\n1\r\n--b--\r\n",
        ),
        ("application/octet-stream", toys.identity()),
    ],
)
def test_a_body_that_is_no_form_is_refused(fleet: Fleet, kind: str, content: bytes) -> None:
    answer = fleet.control.post(
        f"/models/{REFUSED}/versions", content=content, headers={"content-type": kind}
    )
    refused(answer, 400)


def test_deploy_is_202_at_once_and_external_data_came_in_the_tar(fleet: Fleet, data: Data) -> None:
    weights = b"\0\0\x80\x3f" * 3  # 1.0
    bundle = toys.tar({"model.onnx": toys.outside("w.bin"), "w.bin": weights})
    assert toys.upload(fleet, "tarred", bundle, filename="m.tar").status_code == 201
    answer = fleet.control.post("/models/tarred/versions/1/deploy", json={"replicas": 1})
    assert answer.status_code == 202, answer.text
    states = [r["state"] for r in fleet.ask("GET", "/models/tarred")["replicas"]]
    assert states in ([], ["starting"]), "without `wait` it answers at once"

    def ready() -> bool:
        replicas = fleet.ask("GET", "/models/tarred")["replicas"]
        return [r["state"] for r in replicas] == ["ready"]

    until(ready, 30)
    pinned = until(lambda: answered(data.predict("tarred", ROW, x_model_version="1")), 3)
    assert pinned.json() == {"predictions": [[2.0, 3.0, 4.0]]}
    assert pinned.headers["x-route-reason"] == "pin"
    undeploy(fleet, "tarred", "1")
    until(lambda: not fleet.ask("GET", "/models/tarred")["replicas"], 20)
    refused(data.predict("tarred", ROW, x_model_version="1"), 503)
    refused(fleet.control.post("/models/tarred/versions/1/undeploy", json={}), 409, "not_deployed")


def answered(answer: httpx.Response) -> httpx.Response | None:
    """The answer if it is a 200."""
    return answer if answer.status_code == 200 else None


@pytest.mark.parametrize(
    "body", [{"replicas": 0}, {"replicas": -1}, {"replicas": "two"}, {"replicas": 1.5}, {"copies": 2}]
)
def test_a_deploy_of_no_replicas_is_refused(fleet: Fleet, body: dict[str, Any]) -> None:
    refused(fleet.control.post("/models/digits/versions/1/deploy", json=body), 400)
    refused(fleet.control.post("/models/digits/versions/1/deploy", params={"wait": "long"}, json={}), 400)


def test_a_version_that_is_routed_or_previous_is_not_undeployed(fleet: Fleet, digits: Fleet) -> None:
    place = "/models/digits/versions/{}/undeploy"
    for force in (False, True):
        refused(digits.control.post(place.format("2"), json={"force": force}), 409, "still_routed")
    refused(digits.control.post(place.format("1"), json={}), 409)
    changed(digits, "digits", "split", {"weights": {"2": 90, "3": 10}})
    for force in (False, True):
        refused(digits.control.post(place.format("3"), json={"force": force}), 409, "still_routed")
    changed(digits, "digits", "promote", {"version": "2"})
    replicas = {(r["version"], r["state"]) for r in digits.ask("GET", "/models/digits")["replicas"]}
    assert replicas >= {(version, "ready") for version in "123"}


def test_the_previous_version_goes_by_force_alone_and_then_there_is_no_way_back(digits: Fleet) -> None:
    place = "/models/digits/versions/1/{}"
    refused(digits.control.post(place.format("undeploy"), json={}), 409)
    undeploy(digits, "digits", "1", force=True)
    try:
        refused(change(digits, "digits", "rollback"), 409)
        refused(change(digits, "digits", "promote", {"version": "1"}), 409, "not_deployed")
        assert route(digits, "digits")["active"] == "2"
    finally:
        digits.ask("POST", place.format("deploy"), params={"wait": 60}, json={})
