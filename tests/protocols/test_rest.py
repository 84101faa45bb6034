"""Open Inference Protocol v2 over plain HTTP: every path, and each trap that clients set."""

from __future__ import annotations

import gzip
import http.client
import zlib
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from loadtests.fleet import Fleet
from tests.protocols import rows

pytestmark = pytest.mark.fleet
INFER = "/v2/models/digits/infer"
ROWS = rows.digits(3)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Asserts the one form of all errors."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["error"]
    assert body["code"] == code, body
    assert body.keys() <= {"error", "code", "field"}
    assert answer.headers["x-request-id"]
    return body


# -- server and models -------------------------------------------------------------------------------------


def test_server_metadata(http: httpx.Client) -> None:
    body = http.get("/v2").json()
    assert body.keys() == {"name", "version", "extensions"}
    assert "binary_tensor_data" in body["extensions"]


def test_health_bodies_serve_every_client(http: httpx.Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready"):
        answer = http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"live": True, "ready": True})
    assert http.get("/").json() == {"status": "alive"}


def test_model_metadata(http: httpx.Client) -> None:
    body = http.get("/v2/models/digits").json()
    assert body == {
        "name": "digits",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        ],
    }
    assert http.get("/v2/models/digits/versions/2").json() == body | {"versions": ["2"]}


def test_model_config(http: httpx.Client) -> None:
    body = http.get("/v2/models/digits/versions/2/config").json()
    assert body["max_batch_size"] > 1
    assert body["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [64]}]


@pytest.mark.parametrize("tail", ["", "/ready", "/config", "/stats"])
def test_what_does_not_exist_is_404(http: httpx.Client, tail: str) -> None:
    refused(http.get(f"/v2/models/nobody{tail}"), 404, "unknown_model")
    refused(http.get(f"/v2/models/digits/versions/99{tail}"), 404, "unknown_version")


def test_a_model_that_is_not_ready_is_400(http: httpx.Client) -> None:
    assert http.get("/v2/models/digits/ready").json() == {"name": "digits", "version": "1", "ready": True}
    assert http.get("/v2/models/digits/versions/2/ready").status_code == 200
    refused(http.get("/v2/models/digits/versions/3/ready"), 400, "not_deployed")
    refused(http.get("/v2/models/digits/versions/3"), 503, "not_deployed")


def test_statistics_count_what_was_asked(http: httpx.Client) -> None:
    def seen() -> dict[str, Any]:
        (stats,) = http.get("/v2/models/digits/versions/2/stats").json()["model_stats"]
        return dict(stats)

    before = seen()
    assert http.post("/v2/models/digits/versions/2/infer", content=rows.in_json(ROWS)).status_code == 200
    assert http.post("/v2/models/digits/versions/2/infer", content=b"{}").status_code == 400
    after = seen()
    assert after["inference_count"] == before["inference_count"] + 1
    for name in ("success", "fail"):
        assert after["inference_stats"][name]["count"] == before["inference_stats"][name]["count"] + 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    everything = http.get("/v2/models/stats").json()["model_stats"]
    assert {(each["name"], each["version"]) for each in everything} >= {("digits", "1"), ("digits", "2")}


def test_paths_that_are_none(http: httpx.Client) -> None:
    for path in ("/v2/", "/v2/models", "/v2/models/digits/", "/v2/models/digits/nothing", "/v3"):
        refused(http.get(path), 404, "unknown_path")
    refused(http.post("/v2/models/a/b/infer", content=b"{}"), 404, "unknown_path")
    for method, path in (("POST", "/v2"), ("DELETE", "/v2/models/digits"), ("GET", "/v2/repository/index")):
        refused(http.request(method, path), 405, "method_not_allowed")
    assert refused(http.get(INFER), 405, "method_not_allowed")


def test_v1_status_is_the_union_of_both_forms(http: httpx.Client) -> None:
    body = http.get("/v1/models/digits").json()
    assert (body["name"], body["ready"]) == ("digits", True)
    good = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert body["model_version_status"][:2] == [{"version": "1", **good}, {"version": "2", **good}]
    alone = http.get("/v1/models/digits/versions/3").json()
    assert [each["state"] for each in alone["model_version_status"]] == ["END"]
    refused(http.get("/v1/models/nobody"), 404, "unknown_model")
    metadata = http.get("/v1/models/digits/metadata").json()
    assert metadata["model_spec"] == {"name": "digits", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "64"]


# -- inference ---------------------------------------------------------------------------------------------


def test_what_is_echoed(http: httpx.Client) -> None:
    body = rows.in_json(ROWS, id="mine", parameters={"a": "b", "n": 1})
    answer = http.post(INFER, content=body, headers={"x-request-id": "r-17"})
    document = answer.json()
    assert (document["model_name"], document["model_version"], document["id"]) == ("digits", "1", "mine")
    assert document["parameters"] == {"a": "b", "n": 1}
    assert answer.headers["x-request-id"] == "r-17"
    assert answer.headers["x-model-version"] == "1"
    pinned = http.post("/v2/models/digits/versions/2/infer", content=rows.in_json(ROWS))
    assert (pinned.json()["model_version"], pinned.headers["x-route-reason"]) == ("2", "pin")
    refused(http.post("/v2/models/digits/versions/99/infer", content=b"{}"), 404, "unknown_version")


def test_the_length_header_decides_not_the_content_type(http: httpx.Client) -> None:
    body, header = rows.in_binary(ROWS)
    wanted = rows.outputs(http.post(INFER, content=rows.in_json(ROWS)).json())
    for kind in (None, "application/json", "application/octet-stream", "text/plain"):
        given = header if kind is None else header | {"content-type": kind}
        assert rows.outputs(http.post(INFER, content=body, headers=given).json()) == wanted
    assert http.post(INFER, content=rows.in_json(ROWS), headers={"content-type": "x/y"}).status_code == 200


def test_a_raw_body(http: httpx.Client) -> None:
    answer = http.post(INFER, content=ROWS.tobytes(), headers={"inference-header-content-length": "0"})
    assert answer.status_code == 200
    length = int(answer.headers["inference-header-content-length"])
    first = orjson.loads(answer.content[:length])["outputs"][0]
    assert (first["name"], first["shape"]) == ("label", [3])
    label = np.frombuffer(answer.content, "<i8", 3, length)
    assert label.tolist() == http.post(INFER, content=rows.in_json(ROWS)).json()["outputs"][0]["data"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("form", ["json", "binary", "v1"])
def test_codings_both_ways(http: httpx.Client, coding: str, form: str) -> None:
    many = rows.digits(40)
    path = INFER
    header: dict[str, str] = {}
    if form == "v1":
        path, body = "/v1/models/digits:predict", orjson.dumps({"instances": many.tolist()})
    elif form == "json":
        body = rows.in_json(many)
    else:
        # The header keeps the length of the JSON as it was before the whole body was compressed.
        body, header = rows.in_binary(many, parameters={"binary_data_output": True})
    plain = http.post(path, content=body, headers=header)
    packed = (gzip if coding == "gzip" else zlib).compress(body)
    asked = header | {"content-encoding": coding, "accept-encoding": coding}
    answer = http.post(path, content=packed, headers=asked)
    assert answer.headers["content-encoding"] == coding
    assert int(answer.headers["content-length"]) < len(plain.content)
    if form == "binary":
        length = answer.headers["inference-header-content-length"]
        assert abs(int(length) - int(plain.headers["inference-header-content-length"])) < 40
        assert (
            answer.content[int(length) :]
            == plain.content[int(plain.headers["inference-header-content-length"]) :]
        )
    elif form == "json":
        assert rows.outputs(answer.json()) == rows.outputs(plain.json())
    else:
        assert answer.json() == plain.json()


def test_bad_requests_are_400_or_413_never_5xx(http: httpx.Client, fleet: Fleet) -> None:
    body, header = rows.in_binary(ROWS)
    bomb = gzip.compress(bytes(200 << 20), 1)
    cases: list[tuple[bytes, dict[str, str], int, str]] = [
        (b"", {}, 400, "bad_json"),
        (b"{}", header, 400, "bad_header"),
        (body[:-1], header, 400, "bad_size"),
        (body + b"\0", header, 400, "bad_size"),
        (body, {}, 400, "bad_json"),
        (body, {"inference-header-content-length": "-5"}, 400, "bad_header"),
        (ROWS.tobytes()[:-1], {"inference-header-content-length": "0"}, 400, "bad_size"),
        (body, header | {"content-encoding": "br"}, 400, "bad_encoding"),
        (body, header | {"content-encoding": "gzip"}, 400, "bad_encoding"),
        (gzip.compress(body)[:-9], header | {"content-encoding": "gzip"}, 400, "bad_encoding"),
        (bomb, {"content-encoding": "gzip"}, 413, "body_too_large"),
        (rows.in_json(ROWS, outputs=[{"name": "z"}]), {}, 400, "unknown_output"),
    ]
    for sent, headers, status, code in cases:
        refused(http.post(INFER, content=sent, headers=headers), status, code)
    lines = [each for each in fleet.records(model="digits") if each["status"] >= 400]
    assert lines
    assert {each["protocol"] for each in lines} >= {"v2"}


def test_a_head_has_no_body(fleet: Fleet) -> None:
    link = http.client.HTTPConnection("127.0.0.1", fleet.port, timeout=10)
    link.request("HEAD", "/v2/health/ready")
    answer = link.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    link.close()


# -- repository --------------------------------------------------------------------------------------------


def test_the_index_takes_an_empty_body(http: httpx.Client) -> None:
    found = http.post("/v2/repository/index").json()
    mine = [each for each in found if each["name"] == "digits"]
    assert mine == [
        {"name": "digits", "version": "1", "state": "READY", "reason": ""},
        {"name": "digits", "version": "2", "state": "READY", "reason": ""},
        {"name": "digits", "version": "3", "state": "UNAVAILABLE", "reason": "not deployed"},
    ]
    ready = http.post("/v2/repository/index", json={"ready": True}).json()
    assert {each["version"] for each in ready if each["name"] == "digits"} == {"1", "2"}
    refused(http.post("/v2/repository/index", content=b"[]"), 400, "bad_request")
    refused(http.post("/v2/repository/index", content=b"{"), 400, "bad_json")
    refused(http.post("/v2/repository/index", content=bytes(70_000)), 413, "body_too_large")


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_changes_need_the_key(http: httpx.Client, key: dict[str, str], verb: str) -> None:
    path = f"/v2/repository/models/digits/{verb}"
    for given in ("", "Bearer", "Bearer nonsense", "Basic " + key["Authorization"].split(" ")[1]):
        headers = {"authorization": given} if given else {}
        answer = http.post(path, headers=headers)
        refused(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_load_and_unload(http: httpx.Client, key: dict[str, str]) -> None:
    path = "/v2/repository/models/digits"

    def change(verb: str, version: object = None) -> httpx.Response:
        parameters = {} if version is None else {"version": version}
        return http.post(f"{path}/{verb}", json={"parameters": parameters}, headers=key)

    assert change("load").json()["version"] == "1"  # the active one, which is there already
    loaded = change("load", 3)
    assert (loaded.status_code, loaded.json()) == (200, {"name": "digits", "version": "3", "state": "READY"})
    assert http.post("/v2/models/digits/versions/3/infer", content=rows.in_json(ROWS)).status_code == 200
    refused(change("unload", "1"), 400, "still_routed")
    assert change("unload").json()["unloaded"] == ["2", "3"]
    refused(http.get("/v2/models/digits/versions/3/ready"), 400, "not_deployed")
    refused(change("unload"), 400, "still_routed")
    refused(change("unload", "3"), 400, "not_deployed")
    refused(change("load", "99"), 404, "unknown_version")
    refused(http.post("/v2/repository/models/nobody/load", headers=key), 404, "unknown_model")
    refused(
        http.post(f"{path}/load", json={"parameters": {"config": "{}"}}, headers=key),
        400,
        "unsupported_parameter",
    )
    refused(http.post(f"{path}/load", content=b"{", headers=key), 400, "bad_json")
    assert change("load", "2").status_code == 200
    assert http.get("/v2/models/digits/versions/2/ready").status_code == 200


def test_load_without_an_active_version_takes_the_newest(
    http: httpx.Client, fleet: Fleet, key: dict[str, str]
) -> None:
    from tests.services.models import identity

    for version in ("9", "8"):  # the newest is the one that came last, not the highest number
        answer = fleet.control.post(
            "/models/plain/versions",
            files={"artifact": ("model.onnx", identity())},
            data={"version": version},
        )
        assert answer.status_code == 201, answer.text
    loaded = http.post("/v2/repository/models/plain/load", headers=key)
    assert loaded.json() == {"name": "plain", "version": "8", "state": "READY"}
    refused(http.get("/v2/models/plain/ready"), 400, "no_active_version")
    refused(http.get("/v2/models/plain"), 503, "no_active_version")
    assert http.get("/v2/models/plain/versions/8/ready").status_code == 200


def test_a_load_that_fails_says_why(http: httpx.Client, fleet: Fleet, key: dict[str, str]) -> None:
    from tests.services.models import identity

    files = {"artifact": ("model.onnx", identity())}
    store = fleet.ask("POST", "/models/broken/versions", files=files)["store"]
    name, _, tag = store.partition(":")
    artifact = fleet.data_dir / "bentoml" / "models" / name / tag / "model.onnx"
    artifact.chmod(0o600)
    artifact.write_bytes(b"altered")
    body = refused(http.post("/v2/repository/models/broken/load", headers=key), 400, "replica_failed")
    assert "model.onnx" in body["error"]
    index = http.post("/v2/repository/index").json()
    assert [each["state"] for each in index if each["name"] == "broken"] == ["UNAVAILABLE"]


def test_strings_of_an_onnx_model_are_utf_8(http: httpx.Client, fleet: Fleet, key: dict[str, str]) -> None:
    from tests.services.models import identity

    files = {"artifact": ("model.onnx", identity("BYTES", [None]))}
    fleet.ask("POST", "/models/text/versions", files=files)
    assert http.post("/v2/repository/models/text/load", headers=key).status_code == 200
    path = "/v2/models/text/versions/1/infer"
    raw = {"inference-header-content-length": "0"}
    answer = http.post(path, content="größe".encode(), headers=raw)
    assert answer.content.endswith(b"\x07\0\0\0" + "größe".encode())
    refused(http.post(path, content=b"\xff", headers=raw), 400, "bad_frame")
