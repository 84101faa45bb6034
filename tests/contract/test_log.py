"""The request log: one record an answer, every field right, filters and pages, visible within two seconds."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest

from loadtests.fleet import Fleet
from tests.contract.asking import DIGIT, Data, changed, record_of, records_of, refused, route
from tests.contract.wire import HEAD, Wire, post

FIELDS = [
    "record_id",
    "request_id",
    "time",
    "model",
    "version",
    "digest",
    "router",
    "replica",
    "epoch",
    "reason",
    "key_hash",
    "principal",
    "protocol",
    "status",
    "error",
    "attempts",
    "rows",
    "batch_rows",
    "queue_ms",
    "upstream_ms",
    "total_ms",
    "payload",
]
GOOD = {"instances": [[1, 2, 3], [4, 5, 6]]}


def now() -> str:
    """This moment, as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


def test_a_record_has_every_field_with_the_right_value(data: Data, fleet: Fleet) -> None:
    before = now()
    answer = data.predict("plain", GOOD, x_request_id="record-1")
    after = now()
    record = record_of(fleet, "record-1")
    assert set(FIELDS) <= record.keys()
    model = fleet.ask("GET", "/models/plain")
    assert before <= record["time"] <= after
    assert record["digest"] == {v["version"]: v["digest"] for v in model["versions"]}["1"]
    assert record["router"] in {router["id"] for router in fleet.status()["routers"]}
    assert record["record_id"].startswith(f"{record['router']}-")
    assert record["replica"] in {r["id"] for r in model["replicas"] if r["version"] == "1"}
    assert record["epoch"] == model["route"]["epoch"] == int(answer.headers["x-route-epoch"])
    assert {
        name: record[name] for name in ("request_id", "model", "version", "reason", "status", "error")
    } == {
        "request_id": "record-1",
        "model": "plain",
        "version": "1",
        "reason": "active",
        "status": 200,
        "error": None,
    }
    assert (record["rows"], record["key_hash"], record["principal"]) == (2, None, None)
    assert record["protocol"].startswith("v1")
    assert record["batch_rows"] >= 2
    assert 0 <= record["queue_ms"] <= record["total_ms"]
    assert 0 < record["upstream_ms"] <= record["total_ms"]
    (attempt,) = record["attempts"]
    assert {name: attempt[name] for name in ("version", "replica", "status", "error")} == {
        "version": "1",
        "replica": record["replica"],
        "status": 200,
        "error": None,
    }
    assert attempt["upstream_ms"] == pytest.approx(record["upstream_ms"], abs=0.01)
    assert record["payload"] == {"request": GOOD, "response": answer.json(), "truncated": False}


def test_a_record_id_finds_its_record(data: Data, fleet: Fleet) -> None:
    data.predict("plain", GOOD, x_request_id="record-2")
    record = record_of(fleet, "record-2")
    assert fleet.ask("GET", f"/requests/{record['record_id']}")["requests"] == [record]


def test_the_reason_and_the_key_are_recorded_but_not_the_key_itself(data: Data, digits: Fleet) -> None:
    changed(digits, "digits", "split", {"weights": {"1": 50, "2": 50}})
    body = {"instances": [DIGIT]}
    for n, headers in enumerate(
        [
            {"x_routing_key": "ann@example.org"},
            {"x_routing_key": "ann@example.org"},
            {"x_routing_key": "bob"},
            {},
        ]
    ):
        assert data.predict("digits", body, x_request_id=f"key-{n}", **headers).status_code == 200
    data.predict("digits", body, x_request_id="key-4", x_model_version="3")
    found = [record_of(digits, f"key-{n}") for n in range(5)]
    assert [record["reason"] for record in found] == ["sticky", "sticky", "sticky", "split", "pin"]
    hashes = [record["key_hash"] for record in found]
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[3] is None
    assert all(re.fullmatch(r"[0-9a-f]{8,}", each) for each in hashes[:3])
    assert "ann@example.org" not in str(found)
    assert {record["epoch"] for record in found} == {route(digits, "digits")["epoch"]}


def test_every_error_on_a_prediction_path_has_a_record(data: Data, fleet: Fleet) -> None:
    data.predict("plain", b"{", x_request_id="err-400")
    data.predict("plain", {"instances": [[1]]}, x_request_id="err-shape")
    data.predict("plain", GOOD, x_request_id="err-header", x_request_timeout_ms="soon")
    data.predict("plain", GOOD, x_request_id="err-pin", x_model_version="99")
    data.predict("nobody", GOOD, x_request_id="err-404")
    data.send("/v1/models/plain:predict", method="GET", x_request_id="err-405")
    data.predict("picky", {"inputs": {"x": [[0]], "i": [0]}}, x_request_id="err-500")
    data.predict("picky", {"inputs": {"x": [[1]], "i": [99]}}, x_request_id="err-model")
    with Wire(data.port) as wire:
        head = HEAD % b"/v1/models/plain:predict"
        wire.send(head + b"x-request-id: err-413\r\ncontent-length: 99999999\r\n\r\n")
        assert wire.reply().status == 413
    wanted = {
        "err-400": (400, "plain", "1"),
        "err-shape": (400, "plain", "1"),
        "err-header": (400, "plain", None),
        "err-pin": (404, "plain", None),
        "err-404": (404, "nobody", None),
        "err-405": (405, "plain", None),
        "err-500": (500, "picky", "1"),
        "err-model": (500, "picky", "1"),
        "err-413": (413, "plain", None),
    }
    found = {name: record_of(fleet, name) for name in wanted}
    assert {n: (r["status"], r["model"], r["version"]) for n, r in found.items()} == wanted
    assert all(record["error"] for record in found.values())
    assert all(set(FIELDS) <= record.keys() for record in found.values())
    assert found["err-400"]["payload"]["request"] == "{"
    assert found["err-400"]["payload"]["response"]["code"]
    assert found["err-400"]["attempts"] == []
    (attempt,) = found["err-model"]["attempts"]
    assert attempt["status"] >= 400
    assert attempt["error"]


def test_a_payload_is_cut_at_16_kib(data: Data, fleet: Fleet) -> None:
    rows = [[n, n, n] for n in range(3000)]
    answer = data.predict("plain", {"instances": rows}, x_request_id="large")
    record = record_of(fleet, "large")
    payload = record["payload"]
    assert payload["truncated"] is True
    for name, whole in (("request", None), ("response", answer.text)):
        assert isinstance(payload[name], str)
        assert len(payload[name].encode()) <= 16 << 10
        assert whole is None or whole.startswith(payload[name])
    assert record["rows"] == 3000


def test_a_repeated_request_id_has_as_many_records_as_answers(data: Data, fleet: Fleet) -> None:
    for _ in range(5):
        data.predict("plain", GOOD, x_request_id="twice")
    found = records_of(fleet, "twice", 5)
    assert len({record["record_id"] for record in found}) == len(found) == 5
    assert [record["time"] for record in found] == sorted(record["time"] for record in found)


def test_each_of_a_pipeline_has_its_record(data: Data, fleet: Fleet) -> None:
    with Wire(data.port) as wire:
        body = b'{"instances": [[1,2,3]]}'
        wire.send(
            b"".join(post("/v1/models/plain:predict", body, f"x-request-id: pipe-{n}") for n in range(9))
        )
        assert [wire.reply().status for _ in range(9)] == [200] * 9
    assert [record_of(fleet, f"pipe-{n}")["status"] for n in range(9)] == [200] * 9


def test_health_and_unknown_paths_leave_no_record(data: Data, fleet: Fleet) -> None:
    data.send("/livez", method="GET", x_request_id="health")
    data.predict("plain", GOOD, x_request_id="after-health")
    record_of(fleet, "after-health")
    refused(fleet.control.get("/requests/health"), 404)


def test_records_are_filtered_and_stand_oldest_first(data: Data, digits: Fleet) -> None:
    body = {"instances": [DIGIT]}
    since = now()
    for n in range(4):
        data.predict("digits", body, x_request_id=f"filter-{n}", x_model_version="13"[n % 2])
        data.predict("plain", GOOD, x_request_id=f"filter-plain-{n}")
    record_of(digits, "filter-plain-3")
    record_of(digits, "filter-3")

    def ids(**params: Any) -> list[str]:
        page = digits.ask("GET", "/requests", params={"since": since, "limit": 1000, **params})
        times = [record["time"] for record in page["requests"]]
        assert times == sorted(times)
        return [record["request_id"] for record in page["requests"]]

    assert ids(model="digits") == [f"filter-{n}" for n in range(4)]
    assert ids(model="digits", version="3") == ["filter-1", "filter-3"]
    assert ids(model="plain") == [f"filter-plain-{n}" for n in range(4)]
    assert len(ids()) == 8
    assert ids(model="digits", limit=1) == ["filter-0"]
    assert ids(model="nobody") == []
    middle = record_of(digits, "filter-2")["time"]
    assert ids(model="digits", since=middle) == ["filter-2", "filter-3"]
    assert "filter-0" in ids(model="digits", since="10m")
    assert ids(since="0s") == []


def test_pages_by_cursor_give_every_record_once(data: Data, fleet: Fleet) -> None:
    since = now()
    wanted = [f"page-{n}" for n in range(25)]
    for name in wanted:
        data.predict("plain", GOOD, x_request_id=name)
    record_of(fleet, wanted[-1])
    found: list[str] = []
    cursor, pages = None, 0
    while True:
        params = {"model": "plain", "since": since, "limit": 4} | ({"cursor": cursor} if cursor else {})
        page = fleet.ask("GET", "/requests", params=params)
        assert len(page["requests"]) <= 4
        found += [record["request_id"] for record in page["requests"]]
        pages += 1
        if (cursor := page["next"]) is None:
            break
        assert pages < 20
    assert found == wanted


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=99999999",
        "cursor=nonsense",
        "since=yesterday",
        "model=..",
        "colour=red",
    ],
)
def test_a_query_that_cannot_be_is_a_400(fleet: Fleet, query: str) -> None:
    refused(fleet.control.get(f"/requests?{query}"), 400)


def test_a_record_is_visible_within_two_seconds(data: Data, fleet: Fleet) -> None:
    for n in range(10):
        data.predict("plain", GOOD, x_request_id=f"soon-{n}")
        record_of(fleet, f"soon-{n}")  # fails after two seconds
