"""Models, history, routers, requests and status over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from router.journal.journal import Journal
from tests.control.installation import Installation, until


def record(number: int, **others: Any) -> dict[str, Any]:
    fields = {"model": "digits", "version": "1", "status": 200, "reason": "active", "epoch": 1}
    return {"request_id": f"q{number}", **fields, **others}


@pytest.fixture
def journal(here: Installation) -> Journal:
    return Journal(here.settings.data_dir / "journal", "r0.a1")


def test_a_model_as_one_picture(here: Installation) -> None:
    here.versions("digits", "10", "2", "1")
    here.versions("digits", "blue", warm=False)
    here.router("r1")
    assert here.client.get("/models/digits").json()["route"] is None
    for version in ("1", "2"):
        assert here.post("/models/digits/promote", {"version": version}).status_code == 200
    here.post("/models/digits/split", {"weights": {"2": 75, "10": 25}})
    answer = here.client.get("/models/digits")
    found = answer.json()
    assert [version["version"] for version in found["versions"]] == ["1", "2", "10", "blue"]
    told = {version["version"]: (version["serves"], version["share"]) for version in found["versions"]}
    assert told == {"1": (False, 0.0), "2": (True, 75.0), "10": (True, 25.0), "blue": (False, 0.0)}
    first = found["versions"][0]
    assert (first["state"], first["rowwise"], first["metrics"]) == ("registered", True, {"accuracy": 0.9})
    assert first["replicas"] == {"desired": 1, "ready": 1}
    assert first["signature"]["inputs"][0]["shape"] == [-1, 2]
    assert len(found["replicas"]) == 3
    assert answer.headers["etag"] == f'"{found["route"]["epoch"]}"'
    [acknowledgement] = found["acknowledgements"]
    assert acknowledgement["acknowledged"] is True
    [listed] = here.client.get("/models").json()["models"]
    del listed["acknowledgements"], found["acknowledgements"]  # they say how long ago
    assert listed == found


def test_models_are_paged(here: Installation) -> None:
    for name in ("c", "a", "b"):
        here.versions(name, "1", warm=False)
    first = here.client.get("/models?limit=2").json()
    assert ([model["model"] for model in first["models"]], first["next"]) == (["a", "b"], "b")
    second = here.client.get("/models?limit=2&cursor=b").json()
    assert ([model["model"] for model in second["models"]], second["next"]) == (["c"], None)
    assert here.client.get("/models?limit=0").status_code == 400


@pytest.mark.parametrize("path", ["/models/nobody", "/models/nobody/history", "/models/No", "/requests/none"])
def test_what_is_absent(here: Installation, path: str) -> None:
    assert here.client.get(path).status_code == 404


def test_history_is_paged_and_found_by_epoch(here: Installation) -> None:
    here.versions("digits", "1", "2")
    epochs = []
    for number in range(7):
        body = {"version": str(1 + number % 2), "reason": f"flip {number}"}
        epochs.append(here.post("/models/digits/promote", body).json()["epoch"])
    place, found, cursor = "/models/digits/history", [], None
    while True:
        page = here.client.get(place, params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        found += page["history"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [entry["epoch"] for entry in found] == epochs
    assert found[0]["before"] is None
    assert (found[3]["action"], found[3]["actor"], found[3]["reason"]) == ("promote", "admin", "flip 3")
    assert found[3]["after"]["active"] == "2"
    for epoch in epochs:
        [entry] = here.client.get(place, params={"epoch": epoch}).json()["history"]
        assert entry["epoch"] == epoch
    assert here.client.get(place, params={"epoch": epochs[-1] + 1}).json()["history"] == []


def test_an_epoch_of_a_long_history(here: Installation, redis_url: str) -> None:
    here.versions("digits", "1", warm=False)
    with redis.Redis.from_url(redis_url) as admin:
        entries = [json.dumps({"epoch": 10 + 3 * number}) for number in range(5000)]
        admin.rpush("{pm}:history:digits", *entries)
    for number in (0, 1, 999, 1000, 2048, 4998, 4999):
        params = {"epoch": 10 + 3 * number}
        [entry] = here.client.get("/models/digits/history", params=params).json()["history"]
        assert entry == {"epoch": 10 + 3 * number}
    for absent in (1, 11, 10 + 3 * 5000):
        params = {"epoch": absent}
        assert here.client.get("/models/digits/history", params=params).json()["history"] == []


def test_requests_by_id(here: Installation, journal: Journal) -> None:
    ids = journal.append([record(1), record(2), record(1, version="2")])
    answer = here.client.get("/requests/q1").json()
    assert [found["record_id"] for found in answer["requests"]] == [ids[0], ids[2]]
    assert answer["next"] is None
    [found] = here.client.get(f"/requests/{ids[1]}").json()["requests"]
    assert found["request_id"] == "q2"


def test_requests_in_pages(here: Installation, journal: Journal) -> None:
    journal.append([record(number, version=str(number % 2)) for number in range(250)])
    found: list[str] = []
    params = {"model": "digits", "version": "1", "since": "10m", "limit": "100"}
    while True:
        page = here.client.get("/requests", params=params).json()
        found += [each["request_id"] for each in page["requests"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert found == [f"q{number}" for number in range(250) if number % 2]
    journal.append([record(999)])
    params["cursor"] = page["cursor"]
    [later] = here.client.get("/requests", params=params).json()["requests"]
    assert later["request_id"] == "q999"


def test_requests_since_a_time(here: Installation, journal: Journal) -> None:
    journal.append([record(1)])
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    coming = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert len(here.client.get("/requests", params={"since": past}).json()["requests"]) == 1
    assert here.client.get("/requests", params={"since": coming}).json()["requests"] == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"cursor": "!"}, "cursor"),
        ({"model": "No"}, "model"),
        ({"version": "1"}, "version"),
        ({"modle": "digits"}, "modle"),
    ],
)
def test_queries_that_are_none(here: Installation, params: dict[str, str], field: str) -> None:
    answer = here.client.get("/requests", params=params)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_the_log_is_read_while_redis_is_away(here: Installation, journal: Journal, redis_url: str) -> None:
    journal.append([record(1)])
    with redis.Redis.from_url(redis_url) as admin:
        admin.client_pause(1200)
        assert here.client.get("/requests/q1").status_code == 200
        admin.ping()


def test_routers_are_listed_and_forgotten(here: Installation) -> None:
    here.router("r1")
    here.router("r2").mute = True
    found = here.client.get("/routers").json()
    assert [(each["id"], each["state"]) for each in found["routers"]] == [
        ("r1", "serving"),
        ("r2", "serving"),
    ]
    until(lambda: here.client.get("/routers").json()["routers"][1]["lapsed"])
    assert here.client.get("/routers").json()["routers"][1]["state"] == "unknown"
    assert here.client.delete("/routers/r2").json()["forgotten"] is True
    assert here.client.delete("/routers/r2").status_code == 404
    assert [each["id"] for each in here.client.get("/routers").json()["routers"]] == ["r1"]


def test_status_without_up(here: Installation, redis_url: str) -> None:
    here.versions("digits", "1")
    here.router("r1")
    found = here.client.get("/status").json()
    with redis.Redis.from_url(redis_url) as admin:
        pid = admin.info("server")["process_id"]
    assert found["redis"] == {"url": redis_url, "pid": pid}
    assert found["agent"] == {"pid": None}
    assert [(each["id"], each["pid"], each["state"]) for each in found["routers"]] == [("r1", 1, "serving")]
    [replica] = found["replicas"]
    assert {"model", "version", "pid", "address", "state"} <= replica.keys()
    assert [model["model"] for model in found["models"]] == ["digits"]


def test_status_with_the_notes_of_up(here: Installation, tmp_path: Path) -> None:
    processes = {"up": 1, "redis": {"pid": 2, "socket": "/s"}, "agent": {"pid": 3}, "control": None}
    (here.plane.runtime_dir / "processes.json").write_text(json.dumps(processes))
    found = here.client.get("/status").json()
    assert (found["redis"], found["agent"], found["up"]) == ({"pid": 2, "socket": "/s"}, {"pid": 3}, 1)


def test_a_password_of_redis_stays_inside(here: Installation) -> None:
    from router.registry.connection import without_password

    assert without_password("redis://user:secret@host:6379/0") == "redis://host:6379/0"
    assert without_password("unix:///run/redis.sock") == "unix:///run/redis.sock"
