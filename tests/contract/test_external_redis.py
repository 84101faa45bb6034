"""The same on an external Redis, which goes away: changes are refused, predictions go on, the log has a bound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from loadtests.fleet import Fleet
from loadtests.grounds import ExternalRedis
from tests.contract import toys
from tests.contract.asking import Data, change, changed, record_of, records_of, refused, route, until

BODY = {"instances": [[1, 2, 3]]}


@pytest.fixture(scope="module")
def server() -> Iterator[ExternalRedis]:
    """A redis-server of the operator's."""
    made = ExternalRedis()
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def abroad(server: ExternalRedis) -> Iterator[Fleet]:
    """One router, a log of at most 1 MiB, `plain` 1 (x) and 2 (-x)."""
    env = {"POINTSMAN_LOG_BYTES": str(1 << 20), "POINTSMAN_LOG_SEGMENT_BYTES": str(64 << 10)}
    made = Fleet(routers=1, redis_url=server.url, env=env)
    try:
        made.start(ready_s=15)
        toys.release(made, "plain", toys.identity())
        toys.release(made, "plain", toys.one_node("Neg"), promote=False)
        yield made
    finally:
        made.remove()


@pytest.fixture
def plain(abroad: Fleet) -> Fleet:
    """`plain` with 2 active and 1 as the previous version."""
    for version in ("1", "2"):
        changed(abroad, "plain", "promote", {"version": version})
    return abroad


@pytest.fixture(scope="module")
def data(abroad: Fleet) -> Data:
    """Its data listener."""
    return Data(abroad)


def test_status_names_the_redis(plain: Fleet, server: ExternalRedis) -> None:
    named = plain.status()["redis"]
    assert str(server.port) in named["url"]
    assert server.process is not None
    assert named["pid"] == server.process.pid


def test_the_pointer_moves(plain: Fleet, data: Data) -> None:
    assert data.predict("plain", BODY).json() == {"predictions": [[-1.0, -2.0, -3.0]]}
    epoch = changed(plain, "plain", "rollback")["epoch"]
    answer = data.predict("plain", BODY)
    assert answer.json() == {"predictions": [[1.0, 2.0, 3.0]]}
    assert answer.headers["x-route-epoch"] == str(epoch)
    refused(change(plain, "plain", "rollback"), 409)
    refused(change(plain, "plain", "promote", {"version": "2"}, if_match=str(epoch - 1)), 412)
    split = changed(plain, "plain", "split", {"weights": {"1": 50, "2": 50}})
    assert split["epoch"] > epoch
    keyed = {data.predict("plain", BODY, x_routing_key=str(n)).headers["x-model-version"] for n in range(30)}
    assert keyed == {"1", "2"}
    before = route(plain, "plain")
    again = changed(plain, "plain", "promote", {"version": "1"})
    assert again["epoch"] > before["epoch"]
    assert changed(plain, "plain", "promote", {"version": "1"})["epoch"] == again["epoch"]
    actions = [each["action"] for each in plain.ask("GET", "/models/plain/history")["history"]]
    assert [action.rpartition(".")[2] for action in actions[-3:]] == ["rollback", "split", "promote"]


def test_the_log_tells_who_answered(plain: Fleet, data: Data) -> None:
    answer = data.predict("plain", BODY, x_request_id="abroad")
    record = record_of(plain, "abroad")
    assert (record["version"], record["status"]) == (answer.headers["x-model-version"], 200)
    page = plain.ask("GET", "/requests", params={"model": "plain", "version": "2", "limit": 1000})
    assert "abroad" in [each["request_id"] for each in page["requests"]]


def test_redis_away_refuses_changes_and_serves_on(plain: Fleet, data: Data, server: ExternalRedis) -> None:
    before, history = route(plain, "plain"), plain.ask("GET", "/models/plain/history")
    server.kill()
    try:
        for action, body in (
            ("promote", {"version": "1"}),
            ("rollback", {}),
            ("split", {"weights": {"1": 50, "2": 50}}),
        ):
            refused(change(plain, "plain", action, body), 503)
        refused(plain.control.post("/models/plain/versions/1/deploy", json={"replicas": 2}), 503)
        refused(plain.control.post("/models/plain/versions/1/undeploy", json={"force": True}), 503)
        done = plain.cli("promote", "plain", "1", "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)["code"]
        assert plain.ready()

        def marked() -> Any:
            answer = data.predict("plain", BODY, x_request_id="away")
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-model-version"] == "2"
            return answer.headers.get("x-route-stale") == "1"

        until(marked, 8)
        assert {record["status"] for record in records_of(plain, "away")} == {200}
        assert plain.control.get("/metrics").status_code == 200
    finally:
        server.start()
    until(lambda: change(plain, "plain", "promote", {"version": "2"}).status_code == 200, 10)
    until(lambda: "x-route-stale" not in data.predict("plain", BODY).headers, 5)
    assert route(plain, "plain") == before
    assert plain.ask("GET", "/models/plain/history") == history


def test_a_full_redis_refuses_changes_and_serves_on_unmarked(
    plain: Fleet, data: Data, server: ExternalRedis
) -> None:
    before = route(plain, "plain")
    acknowledged = "pointsman_router_acknowledged{"

    def gauge() -> float:
        lines = plain.control.get("/metrics").text.splitlines()
        return min(float(line.rpartition(" ")[2]) for line in lines if line.startswith(acknowledged))

    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        try:
            until(lambda: gauge() == 0, 5)
            refused(change(plain, "plain", "promote", {"version": "1"}), 503, "redis_full")
            for _ in range(20):
                answer = data.predict("plain", BODY, x_request_id="redis-full")
                assert (answer.status_code, answer.headers["x-model-version"]) == (200, "2")
                assert "x-route-stale" not in answer.headers
        finally:
            client.config_set("maxmemory", "0")
    until(lambda: gauge() == 1, 5)
    assert route(plain, "plain") == before
    changed(plain, "plain", "promote", {"version": "1"})
    assert len(records_of(plain, "redis-full")) == 20


def test_a_full_log_is_a_503_until_there_is_room(plain: Fleet, data: Data, server: ExternalRedis) -> None:
    """With Redis away nothing is shipped, so nothing may be dropped: at the bound requests are refused."""
    large = {"instances": [[n, n, n] for n in range(900)]}
    server.kill()
    try:

        def full() -> Any:
            answer = data.predict("plain", large, x_request_id="full")
            assert answer.status_code in (200, 503), answer.text
            return answer if answer.status_code == 503 else None

        answer = until(full, 15)
        refused(answer, 503, "log_unavailable")
        assert answer.headers["x-request-id"] == "full"
        assert answer.headers["x-model-version"] == "2"
        refused(data.predict("plain", b"{"), 503, "log_unavailable")
        assert data.send("/livez", method="GET").status_code == 200
    finally:
        server.start()
    until(lambda: data.predict("plain", BODY).status_code == 200, 15)
    until(lambda: change(plain, "plain", "promote", {"version": "2"}).status_code == 200, 10)
