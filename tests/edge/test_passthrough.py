"""Pass-through requests that are answered whole: what arrives, what comes back, what is written down."""

from __future__ import annotations

import hashlib
import json
import os

import httpx
import pytest

from tests.edge.house import House, RouterProcess

OURS = ("x-request-id", "x-model-version", "x-route-epoch", "x-route-reason")


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """One form for all errors of ours."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == code
    assert answer.json()["error"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_path_and_query_arrive_as_they_were_sent(router: RouterProcess, method: str) -> None:
    answer = router.client.request(method, "/models/m/whole/a%2Fb/c%20d?x=1&x=%2F&y", content=b"abc")
    told = answer.json()
    assert (told["method"], told["path"], told["query"]) == (method, "/whole/a%2Fb/c%20d", "x=1&x=%2F&y")
    assert told["sha256"] == hashlib.sha256(b"abc").hexdigest()
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-route-reason"] == "active"
    assert answer.headers["x-route-epoch"].isdigit()


def test_a_pin_by_path_or_header_reaches_the_other_version(router: RouterProcess) -> None:
    by_path = router.client.get("/models/m/versions/2/whole")
    by_header = router.client.get("/models/m/whole", headers={"x-model-version": "2"})
    for answer in (by_path, by_header):
        assert answer.json()["replica"] == "c"
        assert answer.json()["path"] == "/whole"
        assert answer.headers["x-route-reason"] == "pin"
    both = router.client.get("/models/m/versions/2/whole", headers={"x-model-version": "1"})
    refused(both, 400, "pin_mismatch")


def test_a_multipart_file_arrives_intact(router: RouterProcess) -> None:
    content = os.urandom(3_000_001)
    request = router.client.build_request("POST", "/models/m/whole", files={"file": ("f.bin", content)})
    sent = request.read()
    told = router.client.send(request).json()
    assert told["size"] == len(sent)
    assert told["sha256"] == hashlib.sha256(sent).hexdigest()


def test_hop_by_hop_and_forged_headers_end_at_the_gateway(router: RouterProcess) -> None:
    given = {
        "connection": "close, x-named",
        "x-named": "1",
        "keep-alive": "9",
        "te": "trailers",
        "proxy-authorization": "p",
        "x-route-reason": "forged",
        "x-route-epoch": "0",
        "x-model-version": "1",
        "x-forwarded-for": "6.6.6.6",
        "x-forwarded-host": "evil.test",
        "x-forwarded-prefix": "/evil",
        "x-real-ip": "6.6.6.6",
        "x-kept": "yes",
    }
    told = router.client.get("/models/m/whole", headers=given).json()
    got = {name: [text for other, text in told["headers"] if other == name] for name, _ in told["headers"]}
    assert not got.keys() & {"x-named", "keep-alive", "te", "proxy-authorization", "x-real-ip"}
    assert not got.keys() & {"connection", "x-forwarded-host"}
    assert got["x-kept"] == ["yes"]
    assert got["x-route-reason"] == ["pin"]
    assert got["x-forwarded-prefix"] == ["/models/m"]
    assert len(got["x-forwarded-for"]) == 1


def test_a_replicas_own_values_of_our_headers_do_not_reach_the_caller(router: RouterProcess) -> None:
    answer = router.client.get("/models/m/forged", headers={"x-request-id": "kept"})
    assert [answer.headers.get_list(name) for name in OURS[:2]] == [["kept"], ["1"]]
    assert answer.headers.get_list("x-route-reason") == ["active"]
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert not answer.headers.keys() & {"x-secret", "keep-alive"}


@pytest.mark.parametrize(
    ("to", "seen"),
    [
        ("/there", "/models/m/there"),
        ("/models/m/there", "/models/m/there"),
        ("there", "there"),
        ("//other.test/x", "//other.test/x"),
        ("https://other.test/x", "https://other.test/x"),
        ("http://gate.test/there?a=1", "http://gate.test/models/m/there?a=1"),
    ],
)
def test_redirects_within_the_replica_stay_within_the_model(
    router: RouterProcess, to: str, seen: str
) -> None:
    answer = router.client.get("/models/m/redirect", params={"to": to}, headers={"host": "gate.test"})
    assert (answer.status_code, answer.headers["location"]) == (307, seen)


@pytest.mark.parametrize("code", [204, 304])
@pytest.mark.parametrize("length", ["", "&length=17"])
def test_an_answer_without_a_body_ends_and_its_connection_goes_on(
    router: RouterProcess, code: int, length: str
) -> None:
    if code == 204 and length:
        pytest.skip("not allowed by HTTP")
    with router.wire() as wire:
        for _ in range(2):
            wire.ask("GET", f"/models/m/empty?code={code}{length}")
            status, headers = wire.head()
            assert (status, headers.get("etag")) == (code, '"x"')
            assert "transfer-encoding" not in headers
        wire.ask("GET", "/models/m/whole?nonce=next")
        assert wire.json()[2]["nonce"] == "next"


@pytest.mark.parametrize("path", ["whole", "big?n=9&length=1", "big?n=1000000&length=1", "big?n=1000000"])
def test_head_has_no_body_and_its_connection_goes_on(router: RouterProcess, path: str) -> None:
    with router.wire() as wire:
        wire.ask("HEAD", f"/models/m/{path}")
        status, headers = wire.head()
        assert status == 200
        if "length=1" in path:
            assert headers["content-length"] == path.partition("n=")[2].partition("&")[0]
        wire.ask("GET", "/models/m/whole?nonce=next")
        assert wire.json()[2]["nonce"] == "next"


def test_errors_of_the_replica_pass_through_unchanged(router: RouterProcess) -> None:
    for code in (400, 404, 405, 413, 429, 500, 503):
        answer = router.client.get(f"/models/m/whole?code={code}&nonce=n")
        assert (answer.status_code, answer.json()["nonce"]) == (code, "n")
        assert answer.headers["x-model-version"] == "1"
        assert "retry-after" not in answer.headers


def test_unknown_names_are_refused(router: RouterProcess) -> None:
    refused(router.client.get("/models/none/x"), 404, "unknown_model")
    refused(router.client.get("/models/NO/x"), 404, "unknown_model")
    refused(router.client.get("/models/m/versions/7/x"), 404, "unknown_version")
    with router.wire() as wire:
        wire.ask("GET", "/models/m/versions/../x")
        status, _, told = wire.json()
    assert (status, told["code"]) == (404, "unknown_version")
    refused(router.client.get("/models/m/%76ersions/1/x"), 404, "unknown_path")


def test_pickles_are_refused_whoever_answers(router: RouterProcess) -> None:
    for kind in ("application/vnd.bentoml+pickle", "Application/X-Pickle; a=b"):
        answer = router.client.post("/models/m/whole", content=b"x", headers={"content-type": kind})
        refused(answer, 415, "unsupported_media_type")
        assert answer.headers["x-model-version"] == "1"


@pytest.mark.parametrize(
    "path",
    [
        "_pm/infer",
        "%5Fpm/infer",
        "_p%6D/stats",
        "/_pm/infer",
        "%2F_pm/infer",
        "x/../_pm/infer",
        "./_pm/infer",
        "x/%2e%2e/_pm/infer",
        "%255Fpm/infer",
        "versions/1/_pm/infer",
        "versions/1//_pm/infer",
        "x%5C_pm/infer",
    ],
)
def test_the_internal_front_cannot_be_reached(house: House, router: RouterProcess, path: str) -> None:
    before = len(house.neighbours["a"].state["hits"]), len(house.neighbours["b"].state["hits"])
    with router.wire() as wire:
        wire.ask("POST", f"/models/m/{path}", body=b"x")
        status, _, told = wire.json()
    assert (status, told["code"]) == (404, "unknown_path")
    for name, seen in zip("ab", before, strict=True):
        assert "pm" not in "".join(house.neighbours[name].state["hits"][seen:])


def test_a_whole_answer_has_one_record_with_its_payload(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    headers = {"x-request-id": fresh_id, "x-routing-key": "anna"}
    answer = router.client.post("/models/m/whole?nonce=5", json={"text": "ä"}, headers=headers)
    record = house.record(fresh_id)
    assert answer.headers["x-request-id"] == fresh_id
    assert (record["protocol"], record["status"], record["error"]) == ("pass", 200, None)
    assert (record["model"], record["version"], record["reason"]) == ("m", "1", "active")
    assert record["replica"] == answer.json()["replica"]
    assert record["payload"]["request"] == {"text": "ä"}
    assert record["payload"]["response"] == answer.json()
    assert record["payload"]["truncated"] is False
    (attempt,) = record["attempts"]
    assert (attempt["version"], attempt["replica"], attempt["status"]) == ("1", record["replica"], 200)
    assert record["key_hash"] not in (None, "anna")
    assert 0 < record["upstream_ms"] <= record["total_ms"]


def test_errors_are_recorded_with_what_was_known(house: House, router: RouterProcess, fresh_id: str) -> None:
    router.client.get("/models/m/versions/7/x", headers={"x-request-id": fresh_id})
    record = house.record(fresh_id)
    assert (record["status"], record["version"], record["model"]) == (404, None, "m")
    assert "no version" in record["error"]
    assert record["payload"]["response"]["code"] == "unknown_version"


def test_binary_and_long_payloads_are_kept_as_an_excerpt(
    house: House, router: RouterProcess, fresh_id: str
) -> None:
    router.client.post("/models/m/whole", content=b"\x00" * 40_000, headers={"x-request-id": fresh_id})
    payload = house.record(fresh_id)["payload"]
    assert payload["truncated"] is True
    assert len(payload["request"]["b64"]) == 4 * -(-(16 << 10) // 3)


def test_a_body_may_come_in_chunks_with_trailers(router: RouterProcess) -> None:
    with router.wire() as wire:
        wire.ask("POST", "/models/m/whole?nonce=c", "transfer-encoding: chunked", "trailer: x-late")
        wire.send(b"3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nx-late: 1\r\n\r\n")
        _, _, told = wire.json()
        assert told["sha256"] == hashlib.sha256(b"abcdefg").hexdigest()
        names = [name for name, _ in told["headers"]]
        assert "x-late" not in names
        assert names.count("transfer-encoding") == 1
        assert "content-length" not in names
        wire.ask("GET", "/models/m/whole?nonce=next")
        assert wire.json()[2]["nonce"] == "next"


def test_pipelined_requests_are_answered_in_order(router: RouterProcess) -> None:
    with router.wire() as wire:
        for number in range(20):
            wire.ask("POST", f"/models/m/whole?nonce={number}", body=b"%d" % number)
        assert [wire.json()[2]["nonce"] for _ in range(20)] == [str(number) for number in range(20)]


def test_expect_continue_is_answered_before_the_body(router: RouterProcess) -> None:
    with router.wire() as wire:
        wire.ask("POST", "/models/m/whole", "expect: 100-continue", "content-length: 3")
        assert wire.head()[0] == 100
        wire.send(b"abc")
        told = wire.json()[2]
    assert told["size"] == 3
    assert "expect" not in [name for name, _ in told["headers"]]


# -- smuggling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["content-length", "close, Content-Length", "host, content-length"])
def test_a_length_named_by_connection_still_frames_the_body(
    house: House, router: RouterProcess, named: str
) -> None:
    inner = b"POST /hidden HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    with router.wire() as wire:
        wire.ask("POST", "/models/m/whole", f"connection: {named}", body=inner)
        _, _, told = wire.json()
    assert told["size"] == len(inner)
    for name in "ab":
        assert "/hidden" not in house.neighbours[name].state["hits"]


@pytest.mark.parametrize(
    "lines",
    [
        ("content-length: 3", "transfer-encoding: chunked"),
        ("content-length: 3", "content-length: 4"),
        ("transfer-encoding: gzip, chunked",),
        ("transfer-encoding: chunked", "transfer-encoding: identity"),
        ("transfer-encoding: xchunked",),
    ],
)
def test_a_body_that_can_be_read_in_two_ways_is_refused(
    house: House, router: RouterProcess, lines: tuple[str, ...]
) -> None:
    with router.wire() as wire:
        wire.ask("POST", "/models/m/whole/ambiguous", *lines)
        wire.send(b"3\r\nabc\r\n0\r\n\r\n")
        assert wire.head()[0] == 400
    for name in "ab":
        assert "/whole/ambiguous" not in house.neighbours[name].state["hits"]


def test_the_record_shows_json_as_json(house: House, router: RouterProcess, fresh_id: str) -> None:
    body = json.dumps({"a": [1, {"b": None}]}, indent=1).encode()
    headers = {"x-request-id": fresh_id, "content-type": "application/json"}
    router.client.post("/models/m/whole", content=body, headers=headers)
    assert house.record(fresh_id)["payload"]["request"] == {"a": [1, {"b": None}]}
