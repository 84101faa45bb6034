"""Promote, rollback and split over HTTP: transitions, refusals, races and acknowledgements."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from router.documents import Route
from router.registry.audit import broken_at
from tests.control.installation import TESTER, Installation, replica, until


def flip(here: Installation, action: str, body: object, **kwargs: Any) -> dict[str, Any]:
    answer = here.post(f"/models/digits/{action}", body, **kwargs)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def route_of(here: Installation) -> Route:
    route = here.call(here.registry.model_state("digits")).route
    assert route is not None
    return route


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> None:
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (status, code, field), answer.text
    assert body["error"]


def test_a_whole_life_of_a_route(here: Installation) -> None:
    here.versions("digits", "1", "2")
    for name in ("r1", "r2"):
        here.router(name)
    first = flip(here, "promote", {"version": "1", "reason": "the first"})
    assert first["applied"] is True
    assert first["routers"] == {"acknowledged": 2, "known": 2, "laggards": []}
    assert isinstance(first["took_ms"], float)
    assert 0 < first["took_ms"] < 400
    split = flip(here, "split", {"weights": {"1": 90, "2": 10}})
    assert route_of(here).weights == {"1": 90.0, "2": 10.0}
    second = flip(here, "promote", {"version": "2"})
    assert (route_of(here).active, route_of(here).previous, route_of(here).weights) == ("2", "1", None)
    back = flip(here, "rollback", None)
    assert (route_of(here).active, route_of(here).previous) == ("1", None)
    epochs = [answer["epoch"] for answer in (first, split, second, back)]
    assert epochs == sorted(set(epochs))
    refused(here.post("/models/digits/rollback"), 409, "no_previous")
    assert flip(here, "rollback", {"to": "2"})["epoch"] > back["epoch"]


def test_promoting_the_sole_active_version_keeps_the_epoch(here: Installation) -> None:
    here.versions("digits", "1")
    here.router("r1")
    first = flip(here, "promote", {"version": "1"})
    again = flip(here, "promote", {"version": "1"})
    assert (again["epoch"], again["changed"], again["applied"]) == (first["epoch"], False, True)
    assert len(here.call(here.registry.history("digits", 0, 10))) == 1


def test_a_mute_router_is_named_after_the_time_out(here: Installation) -> None:
    here.versions("digits", "1")
    here.router("r1")
    here.router("r2").mute = True
    answer = here.post("/models/digits/promote", {"version": "1"})
    assert answer.status_code == 202
    found = answer.json()
    assert found["applied"] is True
    assert (found["routers"]["acknowledged"], found["routers"]["known"]) == (1, 2)
    [laggard] = found["routers"]["laggards"]
    assert laggard["id"] == "r2"
    assert "still at revision" in laggard["reason"]
    assert found["took_ms"] >= 400


def test_a_lapsed_router_is_named_and_not_waited_for(here: Installation) -> None:
    here.versions("digits", "1")
    here.router("r1")
    here.router("r2").mute = True
    until(lambda: here.client.get("/routers").json()["routers"][1]["state"] == "unknown")
    answer = here.post("/models/digits/promote", {"version": "1"})
    assert answer.status_code == 202
    [laggard] = answer.json()["routers"]["laggards"]
    assert laggard["id"] == "r2"
    assert laggard["reason"].startswith("unknown: last heard")
    assert answer.json()["took_ms"] < 300
    assert here.client.delete("/routers/r2").json() == {"id": "r2", "forgotten": True}
    assert here.post("/models/digits/promote", {"version": "1"}).status_code == 200


def test_a_refusing_router_is_a_laggard_with_its_reason(here: Installation) -> None:
    here.versions("digits", "1")
    here.router("r1").refusing = "version 1 has no replica I can reach"
    answer = here.post("/models/digits/promote", {"version": "1"})
    assert answer.status_code == 202
    [laggard] = answer.json()["routers"]["laggards"]
    assert laggard == {"id": "r1", "reason": "refused: version 1 has no replica I can reach"}


def test_a_router_that_takes_a_refused_route_in_time_is_no_laggard(here: Installation) -> None:
    here.versions("digits", "1")
    router = here.router("r1")
    router.refusing = "not yet"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(here.post, "/models/digits/promote", {"version": "1"})
        until(lambda: here.client.get("/routers").json()["routers"][0]["refused"] == {"digits": "not yet"})
        router.refusing = None
        assert answer.result().status_code == 200


@pytest.mark.parametrize(
    ("action", "body", "status", "code", "field"),
    [
        ("promote", {"version": "9"}, 404, "unknown_version", "version"),
        ("promote", {"version": "3"}, 409, "not_deployed", "version"),
        ("promote", {"version": "4"}, 409, "not_warm", "version"),
        ("promote", {}, 400, "bad_input", "version"),
        ("promote", {"version": 1}, 400, "bad_input", "version"),
        ("promote", {"version": "../1"}, 400, "bad_name", "version"),
        ("promote", {"version": "1", "reasn": "x"}, 400, "unknown_field", "reasn"),
        ("promote", {"version": "1", "reason": "x" * 3000}, 400, "bad_input", "reason"),
        ("promote", ["1"], 400, "bad_input", None),
        ("rollback", {"to": "9"}, 404, "unknown_version", "to"),
        ("rollback", {"to": "3"}, 409, "not_deployed", "to"),
        ("rollback", {"to": "4"}, 409, "not_warm", "to"),
        ("rollback", {}, 409, "no_previous", None),
        ("split", {"weights": {"1": 90, "9": 10}}, 404, "unknown_version", "weights.9"),
        ("split", {"weights": {"1": 90, "3": 10}}, 409, "not_deployed", "weights.3"),
        ("split", {"weights": {"1": 90, "4": 10}}, 409, "not_warm", "weights.4"),
        ("split", {"weights": {"1": 90, "2": 9}}, 400, "bad_weights", "weights"),
        ("split", {"weights": {"1": 99.999, "2": 0.001}}, 400, "bad_weights", "weights.1"),
        ("split", {"weights": {"1": "x"}}, 400, "bad_input", "weights[...]"),
        ("split", {}, 400, "bad_input", "weights"),
    ],
)
def test_refusals(
    here: Installation, action: str, body: object, status: int, code: str, field: str | None
) -> None:
    here.versions("digits", "1", "2")
    here.versions("digits", "3", "4", warm=False)
    here.call(here.registry.deploy("digits", "4", 1, TESTER))
    here.call(here.registry.put_replica(replica("digits", "4", state="starting")))
    before = flip(here, "promote", {"version": "1"})["epoch"]
    refused(here.post(f"/models/digits/{action}", body), status, code, field)
    assert route_of(here).epoch == before


def test_a_failed_replica_is_told_with_its_error(here: Installation) -> None:
    here.versions("digits", "1", warm=False)
    here.call(here.registry.deploy("digits", "1", 1, TESTER))
    here.call(here.registry.put_replica(replica("digits", "1", state="failed", error="out of memory")))
    answer = here.post("/models/digits/promote", {"version": "1"})
    refused(answer, 409, "not_warm", "version")
    assert "out of memory" in answer.json()["error"]


@pytest.mark.parametrize("action", ["promote", "rollback", "split"])
def test_no_such_model(here: Installation, action: str) -> None:
    body = {"promote": {"version": "1"}, "split": {"weights": {"1": 100}}}.get(action)
    refused(here.post(f"/models/nobody/{action}", body), 404, "unknown_model", "model")
    refused(here.post(f"/models/No%20Body/{action}", body), 404, "unknown_model", "model")


def test_nothing_active_cannot_be_split(here: Installation) -> None:
    here.versions("digits", "1", "2")
    answer = here.post("/models/digits/split", {"weights": {"1": 90, "2": 10}})
    refused(answer, 409, "no_active_version")


@pytest.mark.parametrize("form", ["{}", '"{}"'])
def test_if_match(here: Installation, form: str) -> None:
    here.versions("digits", "1", "2")
    headers = {"if-match": form.format(0)}
    epoch = flip(here, "promote", {"version": "1"}, headers=headers)["epoch"]
    for action, body in (("promote", {"version": "2"}), ("rollback", {"to": "2"})):
        answer = here.post(f"/models/digits/{action}", body, headers=headers)
        refused(answer, 412, "epoch_mismatch", "if-match")
    flip(here, "promote", {"version": "2"}, headers={"if-match": form.format(epoch)})
    bad = here.post("/models/digits/promote", {"version": "2"}, headers={"if-match": "W/x"})
    refused(bad, 400, "bad_input", "if-match")


def test_two_hundred_promotions_at_once(here: Installation) -> None:
    here.versions("digits", "1", "2")
    here.router("r1")
    before = len(here.call(here.registry.audit_chain("digits")))

    def one(number: int) -> dict[str, Any]:
        return flip(here, "promote", {"version": str(1 + number % 2), "reason": f"number {number}"})

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(one, range(200)))
    changes = [answer for answer in answers if answer["changed"]]
    history = here.call(here.registry.history("digits", 0, 1000))
    assert len(changes) > 10
    assert sorted(answer["epoch"] for answer in changes) == [entry["epoch"] for entry in history]
    epochs = [entry["epoch"] for entry in history]
    assert all(low < high for low, high in itertools.pairwise(epochs))
    for earlier, later in itertools.pairwise(history):
        assert later["before"] == earlier["after"]
    chain = here.call(here.registry.audit_chain("digits"))
    assert broken_at(chain) is None
    assert len(chain) == before + len(history)


def test_changes_of_two_control_processes_race_by_the_script(here: Installation, redis_url: str) -> None:
    here.versions("digits", "1", "2")
    with Installation(redis_url, here.settings.data_dir / "other", ack_timeout_ms=400) as other:

        def one(number: int) -> int:
            place = (here, other)[number % 2]
            return int(flip(place, "promote", {"version": str(1 + number // 2 % 2)})["epoch"])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(60)))
    history = here.call(here.registry.history("digits", 0, 1000))
    epochs = [entry["epoch"] for entry in history]
    assert epochs == sorted(set(epochs))
    assert broken_at(here.call(here.registry.audit_chain("digits"))) is None


def test_redis_paused_means_503_and_no_change(here: Installation, redis_url: str) -> None:
    here.versions("digits", "1", "2")
    flip(here, "promote", {"version": "1"})
    with redis.Redis.from_url(redis_url) as admin:
        admin.client_pause(3500)
    with ThreadPoolExecutor(8) as pool:
        started = time.monotonic()
        answers = list(pool.map(lambda _: here.post("/models/digits/promote", {"version": "2"}), range(8)))
        assert time.monotonic() - started < 2.6
    for answer in answers:
        refused(answer, 503, "redis_away")
        assert answer.headers["retry-after"] == "1"
    until(lambda: here.client.get("/models/digits").status_code == 200)
    flip(here, "promote", {"version": "2"})


def test_a_commit_whose_acknowledgements_cannot_be_read_is_no_200(here: Installation) -> None:
    here.versions("digits", "1")
    here.router("r1")

    async def gone() -> tuple[int, list[Any]]:
        raise redis.ConnectionError("gone")

    here.registry.routers = gone  # type: ignore[method-assign]
    answer = here.post("/models/digits/promote", {"version": "1"})
    assert answer.status_code == 202
    assert answer.json()["routers"]["laggards"][0]["id"] == "*"


def test_the_subscription_comes_back(here: Installation, redis_url: str) -> None:
    here.versions("digits", "1", "2")
    here.router("r1")
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    # The router's own subscription is gone as well: the net under the hints is the look at the leases.
    here.router("r1")
    until(lambda: here.plane.acknowledgements.subscribed.is_set())
    flip(here, "promote", {"version": "1"})


def test_took_ms_is_short(here: Installation) -> None:
    here.versions("digits", "1", "2")
    for number in range(4):
        here.router(f"r{number}")
    took = sorted(flip(here, "promote", {"version": str(1 + number % 2)})["took_ms"] for number in range(100))
    assert took[50] < 20, took
