"""`GET /metrics`: Prometheus text, all routers together, and numbers that agree with what was asked."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtests.fleet import Fleet
from tests.contract.asking import DIGIT, Data, changed, refused


def samples(fleet: Fleet) -> list[Any]:
    """Every sample."""
    answer = fleet.control.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]


def total(fleet: Fleet, name: str, **labels: str) -> float:
    """The sum of a sample over all routers."""
    return sum(
        float(sample.value)
        for sample in samples(fleet)
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_requests_are_counted_by_model_version_reason_and_code(data: Data, digits: Fleet) -> None:
    body = {"instances": [DIGIT]}
    asked = [
        ({"version": "2", "reason": "active", "code": "200"}, body, {}),
        ({"version": "3", "reason": "pin", "code": "200"}, body, {"x_model_version": "3"}),
        ({"version": "2", "reason": "active", "code": "400"}, b"{", {}),
    ]
    name = "pointsman_requests_total"
    for labels, content, headers in asked:
        before = total(digits, name, model="digits", **labels)
        for _ in range(6):
            data.predict("digits", content, **headers)
        assert total(digits, name, model="digits", **labels) == before + 6


def test_both_routers_are_in_one_answer(data: Data, fleet: Fleet) -> None:
    ids = {router["id"] for router in fleet.status()["routers"]}
    for _ in range(20):
        data.predict("plain", {"instances": [[1, 2, 3]]})
    found = samples(fleet)
    for name in (
        "pointsman_requests_total",
        "pointsman_route_epoch",
        "pointsman_request_duration_seconds_count",
    ):
        assert {s.labels["router"] for s in found if s.name == name} == ids, name
    labels = {"model", "version", "reason", "code", "router"}
    assert all(s.labels.keys() == labels for s in found if s.name == "pointsman_requests_total")


def test_durations_are_a_histogram(data: Data, fleet: Fleet) -> None:
    name = "pointsman_request_duration_seconds"
    before = total(fleet, f"{name}_count", model="plain"), total(fleet, f"{name}_sum", model="plain")
    for _ in range(5):
        data.predict("plain", {"instances": [[1, 2, 3]]})
    assert total(fleet, f"{name}_count", model="plain") == before[0] + 5
    assert 0 < total(fleet, f"{name}_sum", model="plain") - before[1] < 5
    found = [s for s in samples(fleet) if s.name == f"{name}_bucket" and s.labels["model"] == "plain"]
    series: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for s in found:
        key = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
        series.setdefault(key, []).append((float(s.labels["le"]), s.value))
    for buckets in series.values():
        counts = [count for _, count in sorted(buckets)]
        assert counts == sorted(counts), "buckets must be cumulative"
        assert sorted(buckets)[-1][0] == float("inf")


def test_the_epoch_of_a_route_is_told_by_every_router(digits: Fleet) -> None:
    epoch = changed(digits, "digits", "promote", {"version": "3"})["epoch"]
    found = [
        s.value
        for s in samples(digits)
        if s.name == "pointsman_route_epoch" and s.labels.get("model") == "digits"
    ]
    assert found == [epoch, epoch]


def test_a_strangers_model_name_makes_no_series(data: Data, fleet: Fleet) -> None:
    for n in range(5):
        data.predict(f"stranger-{n}", {})
    assert not [s for s in samples(fleet) if "stranger" in str(s.labels)]
    assert total(fleet, "pointsman_requests_total", code="404") >= 5


def test_metrics_need_the_key(fleet: Fleet) -> None:
    refused(fleet.control.get("/metrics", headers={"authorization": "Bearer no"}), 401)
