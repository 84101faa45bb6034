"""Search, inventory, reviews and the past over HTTP, with a real Redis; the index follows what is there."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import redis

from router import stories
from router.registry.told import entries_at
from tests.catalog.documents import story
from tests.control.installation import Installation, until
from tests.control.test_stories import got, refused, told
from tests.journal.conftest import RedisServer


def places(here: Installation, query: str, **params: Any) -> list[str]:
    found = got(here, "/search", stories.Search, q=query, **params)["versions"]
    return [f"{each['model']}/{each['version']}" for each in found]


def test_the_index_follows_every_kind_of_change(here: Installation) -> None:
    assert places(here, "") == []
    told(here, story(), story(version="2", metrics={"auc": 0.95}), story("fraud", "1", metrics={}))
    here.router("r1")
    assert places(here, "metrics.auc > 0.9") == ["digits/2"]
    here.post("/models/digits/versions/1/tags", {"tags": {"fraud": ""}})
    assert places(here, "tag:fraud") == ["digits/1"]
    here.post("/models/digits/versions/1/tags", {"tags": {"fraud": None}})
    assert places(here, "tag:fraud") == []
    here.post("/models/digits/promote", {"version": "2"})
    assert places(here, "active = true") == ["digits/2"]
    here.post("/models/digits/split", {"weights": {"1": 50, "2": 50}})
    assert places(here, "serves = true") == ["digits/1", "digits/2"]
    here.post("/models/digits/aliases", {"name": "champion", "version": "1"})
    assert places(here, "alias:champion") == ["digits/1"]
    told(here, story(version="3", metrics={"auc": 0.99}), warm=False)
    assert places(here, "metrics.auc > 0.9") == ["digits/2", "digits/3"]
    assert places(here, "deployed = false") == ["digits/3"]
    assert places(here, "note ~ monday") == []
    here.post("/models/fraud/versions/1/notes", {"text": "slow on Mondays"})
    assert places(here, "note ~ monday") == ["fraud/1"]


def test_a_search_page_by_page(here: Installation) -> None:
    told(here, *(story(model, str(n)) for model in ("a", "b") for n in range(1, 12)), warm=False)
    paged: list[str] = []
    cursor = None
    while True:
        page = got(here, "/search", stories.Search, limit=4, **({"cursor": cursor} if cursor else {}))
        paged += [f"{each['model']}/{each['version']}" for each in page["versions"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert paged == [f"{model}/{n}" for model in ("a", "b") for n in range(1, 12)]
    refused(here.client.get("/search?q=nonsense"), 400, "bad_query", "q")
    refused(here.client.get("/search?cursor=x"), 400, "bad_cursor", "cursor")
    refused(here.client.get("/search?cursor=A:1"), 400, "bad_cursor", "cursor")


@pytest.mark.parametrize("how", ["flushed", "lost one and went on"])
def test_a_redis_that_lost_changes_is_believed(here: Installation, how: str) -> None:
    told(here, story(), story("fraud", "1"), warm=False)
    assert places(here, "") == ["digits/1", "fraud/1"]
    with redis.Redis.from_url(here.redis_url) as client:
        if how == "flushed":
            client.flushall()
        else:
            client.hdel("{pm}:models", "fraud")
            client.zrem("{pm}:changes", "fraud")
            client.delete("{pm}:versions:fraud")
    told(here, story(version="2"), warm=False)
    assert places(here, "") == (["digits/2"] if how == "flushed" else ["digits/1", "digits/2"])


def test_the_inventory_and_its_alarm(here: Installation) -> None:
    told(here, story(), story(version="2", card={"owner": "team-b"}), story("fraud", "1"), warm=True)
    here.router("r1")
    first = got(here, "/inventory", stories.Inventory)
    assert [each["model"] for each in first["models"]] == ["digits", "fraud"]
    assert first["models"][0]["owner"] == "team-b"  # nothing is active: the newest speaks
    here.post("/models/digits/promote", {"version": "1"})
    row = got(here, "/inventory", stories.Inventory)["models"][0]
    for name, value in (
        ("owner", "team-a"),
        ("riskTier", "high"),
        ("purpose", "reads digits"),
        ("active", "1"),
    ):
        assert row[name] == value
    assert (row["versions"], row["reviewEvery"], row["overdue"], row["since"] is not None) == (
        2,
        None,
        False,
        True,
    )
    done = here.post("/models/digits/review", {"every": "1h", "reason": "quarterly"}).json()
    assert msgspec.convert(done, stories.Reviewed).changed
    assert done["reviewed"]["actor"] == "admin"
    assert 'pointsman_review_overdue{model="digits"} 0.0' in here.client.get("/metrics").text
    with redis.Redis.from_url(here.redis_url) as client:  # long ago
        stored = orjson.loads(client.hget("{pm}:addenda:digits", "#model"))
        stored["reviewed"]["time"] = "2026-01-01T00:00:00.000000Z"
        client.hset("{pm}:addenda:digits", "#model", orjson.dumps(stored))
    here.post("/models/digits/versions/1/tags", {"tags": {"touch": ""}})
    late = got(here, "/inventory", stories.Inventory, overdue="true")
    assert ([each["model"] for each in late["models"]], late["overdue"], late["total"]) == (["digits"], 1, 1)
    text = here.client.get("/metrics").text
    assert 'pointsman_review_overdue{model="digits"} 1.0' in text
    assert 'pointsman_review_overdue{model="fraud"}' not in text
    assert here.client.get("/models/digits").json()["care"]["overdue"] is True
    here.post("/models/digits/review", {})
    assert got(here, "/inventory", stories.Inventory)["overdue"] == 0
    page = got(here, "/inventory", stories.Inventory, limit=1)
    assert page["next"] == "digits"
    assert [m["model"] for m in got(here, "/inventory", stories.Inventory, cursor="digits")["models"]] == [
        "fraud"
    ]
    here.post("/models/digits/review", {"every": "never", "reviewed": False})
    assert got(here, "/inventory", stories.Inventory)["models"][0]["reviewDue"] is None


def test_what_was_active_at_a_time(here: Installation) -> None:
    told(here, story(), story(version="2"), story("fraud", "1"), story("idle", "1"))
    here.router("r1")
    moments = [time.time()]
    for model, action, body in (
        ("digits", "promote", {"version": "1", "reason": "first"}),
        ("fraud", "promote", {"version": "1"}),
        ("digits", "split", {"weights": {"1": 90, "2": 10}}),
        ("digits", "promote", {"version": "2"}),
    ):
        assert here.post(f"/models/{model}/{action}", body).status_code == 200
        moments.append(time.time())

    def at(moment: float, **params: Any) -> list[tuple[str, Any, Any]]:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f"{moment % 1:.6f}"[1:] + "Z"
        found = got(here, "/state", stories.Past, at=text, **params)["models"]
        return [(each["model"], each["active"], each["weights"]) for each in found]

    assert at(moments[0]) == []
    assert at(moments[1]) == [("digits", "1", None)]
    assert at(moments[2]) == [("digits", "1", None), ("fraud", "1", None)]
    assert at(moments[3], model="digits") == [("digits", "1", {"1": 90.0, "2": 10.0})]
    assert at(moments[4]) == [("digits", "2", None), ("fraud", "1", None)]
    now = got(here, "/state", stories.Past, at="0s", limit=1)
    [first] = now["models"]
    assert (first["digests"], first["actor"], first["action"]) == ({"2": f"{2:0>64}"}, "admin", "promote")
    assert now["next"] == "digits"
    rest = got(here, "/state", stories.Past, at="0s", cursor="digits")
    assert [each["model"] for each in rest["models"]] == ["fraud"]
    refused(here.client.get("/state"), 400, "bad_input", "at")
    refused(here.client.get("/state?at=yesterday"), 400, "bad_input", "at")
    refused(here.client.get("/state?at=0s&model=nobody"), 404, "unknown_model", "model")


def test_the_search_through_histories_finds_what_a_walk_finds(here: Installation) -> None:
    chance = random.Random(7)
    times = {f"m{n}": sorted(chance.uniform(0, 1000) for _ in range(n)) for n in range(12)}
    with redis.Redis.from_url(here.redis_url) as client:
        for model, moments in times.items():
            for number, moment in enumerate(moments):
                text = f"1970-01-01T00:{moment // 60:02.0f}:{moment % 60:09.6f}Z"
                client.rpush(f"{{pm}}:history:{model}", orjson.dumps({"epoch": number, "time": text}))
    for _ in range(40):
        moment = chance.uniform(-10, 1010)
        found = here.call(entries_at(here.registry, list(times), moment))
        assert {model: entry["epoch"] for model, entry in found.items()} == {
            model: sum(each <= moment for each in moments) - 1
            for model, moments in times.items()
            if any(each <= moment for each in moments)
        }


def test_everybody_finds_what_was_changed_before_the_search(here: Installation) -> None:
    told(here, *(story("digits", str(n)) for n in range(1, 9)), warm=False)

    def one(version: int) -> list[list[str]]:
        seen = []
        for turn in range(12):
            tag = f"v{version}.t{turn}"
            place = f"{here.url}/api/v1/models/digits/versions/{version}/tags"
            assert here.client.post(place, json={"tags": {tag: ""}}).status_code == 200
            found = here.client.get("/search", params={"q": f"tag:{tag}"}).json()["versions"]
            seen.append([each["version"] for each in found])
        return seen

    with ThreadPoolExecutor(8) as pool:
        for version, seen in zip(range(1, 9), pool.map(one, range(1, 9)), strict=True):
            assert seen == [[str(version)]] * 12


def test_while_redis_is_away_nothing_old_is_told(redis_server: RedisServer, tmp_path: Path) -> None:
    with Installation(redis_server.url, tmp_path) as here:
        told(here, story(), warm=False)
        assert places(here, "") == ["digits/1"]
        redis_server.kill()
        refused(here.client.get("/search"), 503, "redis_away")
        refused(here.client.get("/inventory"), 503, "redis_away")
        assert here.client.get("/metrics").status_code == 200
        redis_server.start()
        until(lambda: here.client.get("/search").status_code == 200)
        assert places(here, "") == ["digits/1"]
