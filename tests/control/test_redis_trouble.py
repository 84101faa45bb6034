"""Changes while Redis is in trouble: full, read-only, fallen back, without a replica; what it lost, restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import redis

from loadtests.fleet import wait_for
from loadtests.redis_servers import Sentinels, Server
from router.documents import Route, Version
from router.registry import keys
from router.registry.audit import broken_at
from router.registry.connection import replicas_awaited
from router.route.snapshot import Snapshot, save
from tests.control.installation import Installation, document, until
from tests.registry.conftest import sentinels

__all__ = ["sentinels"]


def gauge(here: Installation, name: str) -> float:
    """A gauge without labels, as it is scraped."""
    text = here.client.get("/metrics").text
    return float(next(line.split(" ")[1] for line in text.splitlines() if line.startswith(f"{name} ")))


@pytest.mark.parametrize(
    ("setting", "refusing", "usual", "code", "reason"),
    [
        ("maxmemory", "1", "0", "redis_full", "it is out of memory"),
        ("min-replicas-to-write", "1", "0", "redis_readonly", "it has too few replicas"),
    ],
)
def test_a_redis_that_takes_no_writes_refuses_changes_and_says_why(
    here: Installation, setting: str, refusing: str, usual: str, code: str, reason: str
) -> None:
    here.versions("digits", "1", "2")
    assert here.post("/models/digits/promote", {"version": "1"}).status_code == 200
    with redis.Redis.from_url(here.redis_url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set(setting, refusing)
        try:
            for path, body in (
                ("/models/digits/promote", {"version": "2"}),
                ("/models/digits/versions/1/deploy", {"replicas": 2}),
            ):
                answer = here.post(path, body)
                assert (answer.status_code, answer.json()["code"]) == (503, code)
                assert (
                    answer.json()["error"] == f"Redis takes no writes for now: {reason}; nothing was changed"
                )
                assert answer.headers["retry-after"] == "1"
            assert here.client.get("/models/digits").json()["route"]["active"] == "1"
            assert gauge(here, "pointsman_redis_up") == 1
            if setting == "maxmemory":
                limit = gauge(here, "pointsman_redis_memory_limit_bytes")
                assert limit == 1 < gauge(here, "pointsman_redis_memory_bytes")
        finally:
            client.config_set(setting, usual)
    assert here.post("/models/digits/promote", {"version": "2"}).status_code == 200


def test_a_redis_that_fell_back_is_told_and_the_next_change_ends_it(here: Installation) -> None:
    here.versions("digits", "1", "2")
    here.router("r1")
    high = here.post("/models/digits/promote", {"version": "1"}).json()["epoch"]
    assert gauge(here, "pointsman_registry_behind") == 0
    here.call(here.registry.redis.set(keys.REVISION, high - 2))
    assert gauge(here, "pointsman_registry_behind") == 2
    again = here.post("/models/digits/promote", {"version": "1"}).json()
    assert again["changed"]
    assert again["epoch"] > high
    assert gauge(here, "pointsman_registry_behind") == 0


def last_good(here: Installation, route: Route, *versions: str) -> None:
    """What the routers and the agent of this host have written."""
    folder = here.settings.data_dir
    documents = [document("digits", version) for version in versions]
    state = here.call(here.registry.model_state("digits"))
    known = msgspec.structs.replace(state, route=route, desired=dict.fromkeys(versions, 1))
    tables = tuple(msgspec.convert(each, Version, strict=False) for each in documents)
    save(folder / "table.json", Snapshot(revision=route.epoch, models=(known,), versions=tables))
    wished = {"desired": {"digits": dict.fromkeys(versions, 1)}, "documents": documents}
    (folder / "desired.json").write_bytes(orjson.dumps(wished))


def test_what_a_flushed_redis_lost_is_written_back(here: Installation) -> None:
    here.versions("digits", "1", "2")
    for version in ("1", "2"):
        assert here.post("/models/digits/promote", {"version": version}).status_code == 200
    before: dict[str, Any] = here.client.get("/models/digits").json()
    route = msgspec.convert(before["route"], Route, strict=False)
    last_good(here, route, "1", "2")
    here.call(here.registry.redis.flushall())
    assert here.client.get("/models/digits").status_code == 404
    assert gauge(here, "pointsman_registry_behind") == route.epoch
    done = here.post("/registry/restore", {"reason": "flushed"})
    assert done.status_code == 200
    [restored] = done.json()["restored"]
    assert (restored["model"], restored["versions"], restored["deployed"], restored["route"]) == (
        "digits", ["1", "2"], ["1", "2"], True,
    )  # fmt: skip
    assert restored["revision"] > route.epoch
    after = here.client.get("/models/digits").json()
    for name in ("active", "previous", "weights"):
        assert after["route"][name] == before["route"][name]
    assert [each["digest"] for each in after["versions"]] == [each["digest"] for each in before["versions"]]
    assert [each["replicas"]["desired"] for each in after["versions"]] == [1, 1]
    [entry] = here.client.get("/models/digits/history").json()["history"]
    assert (entry["action"], entry["reason"], entry["epoch"]) == ("restore", "flushed", restored["revision"])
    assert broken_at(here.call(here.registry.audit_chain("digits"))) is None
    assert gauge(here, "pointsman_registry_behind") == 0
    again = here.post("/registry/restore").json()
    assert (again["models"], again["restored"]) == (1, [])


def test_a_newer_route_is_not_overwritten_and_a_lost_version_is_named(here: Installation) -> None:
    here.versions("digits", "1", "2")
    first = here.post("/models/digits/promote", {"version": "1"}).json()
    last_good(here, Route(model="digits", epoch=first["epoch"], active="1"), "1", "2")
    assert here.post("/models/digits/promote", {"version": "2"}).status_code == 200
    assert here.post("/registry/restore").json()["restored"] == []
    assert here.client.get("/models/digits").json()["route"]["active"] == "2"
    last_good(here, Route(model="digits", epoch=9999, active="7"), "1", "2")
    answer = here.post("/registry/restore").json()
    assert answer["incomplete"] == [{"model": "digits", "missing": ["7"]}]
    assert here.client.get("/models/digits").json()["route"]["active"] == "2"


def test_without_a_table_nothing_is_restored(here: Installation) -> None:
    answer = here.post("/registry/restore")
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_known")


def test_a_change_that_no_replica_confirms_is_a_202_that_says_so(
    sentinels: Sentinels, tmp_path: Path
) -> None:
    wait_for(sentinels.whole, 20)
    assert replicas_awaited(sentinels.url) == 1
    with Installation(sentinels.url, tmp_path, ack_timeout_ms=400) as here:
        here.versions("digits", "1", "2")
        assert here.post("/models/digits/promote", {"version": "1"}).status_code == 200
        replica: Server = sentinels.replica()
        replica.kill()
        try:
            answer = here.post("/models/digits/promote", {"version": "2"})
            assert answer.status_code == 202
            assert [each["id"] for each in answer.json()["routers"]["laggards"]] == ["redis"]
            assert gauge(here, "pointsman_changes_unreplicated") == 1
        finally:
            replica.start()
        until(lambda: here.post("/models/digits/promote", {"version": "2"}).status_code == 200, 20)
