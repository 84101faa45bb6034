"""500 models with 20 versions each, in a real Redis: lists, searches and pages stay under a tenth of a second."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from tests.catalog.documents import story
from tests.control.installation import Installation, until

MODELS, VERSIONS = 500, 20
LIMIT_S = 0.1
TIMES = 5
TAGS = ("fraud", "stage", "team")


def fill(url: str) -> None:
    """As so many registrations and promotions would have left it; every tenth model has tags on its versions."""
    with redis.Redis.from_url(url) as client:
        for number in range(MODELS):
            model = f"model-{number:03}"
            pipe = client.pipeline(transaction=False)
            documents = {
                str(v): orjson.dumps(
                    story(
                        model,
                        str(v),
                        metrics={"auc": (number * VERSIONS + v) % 1000 / 1000, "f1": 0.5, "loss": v / 10},
                        card={"owner": f"team-{number % 17}", "purpose": "to be many", "riskTier": "low"},
                    )
                )
                for v in range(1, VERSIONS + 1)
            }
            pipe.hset(f"{{pm}}:versions:{model}", mapping=documents)
            pipe.hset("{pm}:models", model, orjson.dumps({"created": "2026-01-01T00:00:00.000000Z"}))
            route = {"epoch": number + 1, "model": model, "active": str(VERSIONS), "previous": "1"}
            pipe.hset("{pm}:routes", model, orjson.dumps(route))
            entry = {
                "epoch": number + 1,
                "time": "2026-02-01T00:00:00.000000Z",
                "actor": "ann",
                "action": "promote",
            }
            pipe.rpush(f"{{pm}}:history:{model}", orjson.dumps(entry | {"before": None, "after": route}))
            if number % 10 == 0:
                tagged = {
                    str(v): orjson.dumps({"tags": {TAGS[v % 3]: "yes"}}) for v in range(1, VERSIONS + 1)
                }
                pipe.hset(f"{{pm}}:addenda:{model}", mapping=tagged)
            pipe.zadd("{pm}:changes", {model: number + 1})
            pipe.set("{pm}:revision", number + 1)
            pipe.execute()


def timed(here: Installation, name: str, path: str, **params: Any) -> tuple[float, dict[str, Any]]:
    """The least CPU time of some turns, of server and client together, and the answer.

    Others use the machine too, so it is not the clock on the wall that is held to the limit; it is printed.
    """
    wall, cpu, found = 1e9, 1e9, {}
    for _ in range(TIMES):
        began, used = time.perf_counter(), time.process_time()
        answer = here.client.get(path, params=params)
        wall, cpu = min(wall, time.perf_counter() - began), min(cpu, time.process_time() - used)
        assert answer.status_code == 200, answer.text
        found = answer.json()
    print(f"{name:30} {wall * 1000:7.1f} ms, {cpu * 1000:.1f} ms of CPU")
    return cpu, found


@pytest.fixture
def filled(redis_url: str, tmp_path: Path) -> Any:
    fill(redis_url)
    with Installation(redis_url, tmp_path) as here:
        began = time.perf_counter()
        until(lambda: here.client.get("/search?limit=1").status_code == 200, 30)
        print(f"\nindex built in {time.perf_counter() - began:.2f} s")
        yield here


def test_a_large_fleet_is_listed_searched_and_paged_quickly(filled: Installation) -> None:
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "search, a hundred of many": ("/search", {"q": "metrics.auc > 0.5"}),
        "search, few": ("/search", {"q": "metrics.auc > 0.9 and tag:fraud"}),
        "search, nothing": ("/search", {"q": "owner = team-99 or params.depth > 7"}),
        "search, by text": ("/search", {"q": 'card.purpose ~ "many" and not (owner = team-3)'}),
        "search, a later page": (
            "/search",
            {"q": "loss < 5".replace("loss", "metrics.loss"), "cursor": "model-400:10"},
        ),
        "search, a page of a thousand": ("/search", {"q": "", "limit": 1000}),
        "inventory, all": ("/inventory", {"limit": 1000}),
        "models, a page of 50": ("/models", {"limit": 50}),
        "one model": ("/models/model-250", {}),
        "data set": ("/lineage", {"dataset": "d" * 64}),
        "state of all": ("/state", {"at": "2026-03-01T00:00:00Z", "limit": 1000}),
    }
    took = {}
    for name, (path, params) in asked.items():
        took[name], _ = timed(filled, name, path, **params)
    for name in ("status", "models"):  # all 10,000 versions in one answer of 5 MB
        whole, _ = timed(filled, f"{name}, whole", f"/{name}")
        assert whole < 4 * LIMIT_S
    assert {name: round(each, 4) for name, each in took.items() if each > LIMIT_S} == {}
    _, found = timed(filled, "search, all of few", "/search", q="metrics.auc > 0.9 and tag:fraud", limit=1000)
    wanted = [
        f"model-{n:03}/{v}"
        for n in range(0, MODELS, 10)
        for v in range(1, VERSIONS + 1)
        if (n * VERSIONS + v) % 1000 / 1000 > 0.9 and TAGS[v % 3] == "fraud"
    ]
    assert [f"{each['model']}/{each['version']}" for each in found["versions"]] == wanted
    began = time.perf_counter()
    assert filled.post("/models/model-250/versions/7/tags", {"tags": {"new": ""}}).status_code == 200
    fresh = filled.client.get("/search", params={"q": "tag:new"}).json()["versions"]
    assert [each["version"] for each in fresh] == ["7"]
    assert time.perf_counter() - began < 2
