"""Every cell of the table of roles, asked of the control API itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from starlette.routing import Route

from router.access.grant import Grant
from router.access.principal import Principal
from router.access.roles import ROLES, Verb, allows
from router.control.permits import OPEN, TABLE, Permit, permits
from router.errors import Forbidden
from tests.control.installation import Installation
from tests.journal.conftest import RedisServer

MODEL = "digits"
# What a path needs; the bodies are such that nothing is changed by one who may.
FILLED = {
    "model": MODEL,
    "version": "9",
    "chain": "keys",
    "request_id": "none",
    "router": "r0.none",
    "key": "pm_00000000",
}
NEEDED = sorted({permit.verb for permit in TABLE.values() if permit.verb is not None})


@pytest.fixture(scope="module")
def shared(control_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for all cells."""
    with redis.Redis.from_url(control_redis.url) as client:
        client.flushall()
    folder: Path = tmp_path_factory.mktemp("permits")
    with Installation(control_redis.url, folder, ack_timeout_ms=400) as installation:
        installation.versions(MODEL, "1")
        yield installation


@pytest.fixture(scope="module")
def keys(shared: Installation) -> dict[tuple[str, str], str]:
    """A key of each role, for all models and for patterns."""
    found: dict[tuple[str, str], str] = {}
    for role in ROLES:
        for pattern in ("*", "dig*", "other"):
            name = f"{role}-{len(found)}"
            answer = shared.post("/keys", {"name": name, "grants": [{"role": role, "models": pattern}]})
            assert answer.status_code == 201, answer.text
            found[role, pattern] = answer.json()["secret"]
    return found


def asked(here: Installation, secret: str, name: str) -> httpx.Response:
    """A request to a path of the table, with nothing in it that could be done."""
    method, _, path = name.partition(" ")
    for part, value in FILLED.items():
        path = path.replace(f"{{{part}}}", value)
    # Unknown fields and parameters are refused before anything else is done.
    body: Any = {"nonsense": 1} if method == "POST" else None
    params = (
        {"model": MODEL} if path.endswith("/requests") else {"nonsense": "1"} if method == "DELETE" else {}
    )
    headers = {"authorization": f"Bearer {secret}"}
    return here.client.request(method, f"{here.url}{path}", json=body, params=params, headers=headers)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_cell_of_the_table(
    shared: Installation, keys: dict[tuple[str, str], str], name: str, role: str
) -> None:
    permit = TABLE[name]
    may = permit.verb is None or allows(role, permit.verb)
    for pattern in ("*", "dig*", "other"):
        answer = asked(shared, keys[role, pattern], name)
        reaches = pattern == "*" or (permit.of == "model" and pattern == "dig*")
        reaches |= permit.verb is None
        if permit.of == "some":
            # Any pattern opens the page, which then shows only what it covers.
            reaches = True if not name.endswith("/requests") else pattern != "other"
        if may and reaches:
            assert answer.status_code not in (401, 403), (pattern, answer.text)
        else:
            assert answer.status_code == 403, (pattern, answer.text)
            told = answer.json()
            assert told["code"] == "forbidden"
            assert str(permit.verb) in told["error"]
            assert keys[role, pattern] not in answer.text


def test_each_verb_but_predict_guards_some_path() -> None:
    assert set(NEEDED) == set(Verb) - {Verb.PREDICT}


def test_an_application_with_a_path_beyond_the_table_does_not_start() -> None:
    with pytest.raises(LookupError, match="GET /new"):
        permits([Route("/new", lambda _: None)])


def test_a_path_is_judged_as_it_is_routed() -> None:
    def nothing(_: Any) -> None:
        """Nothing."""

    found = permits([Route("/api/v1/models/{model}", nothing), Route("/livez", nothing)])
    known = Principal("k", "key", (Grant("viewer", "digits"),))
    found.require(known, "GET", "/api/v1/models/digits")
    found.require(known, "HEAD", "/api/v1/models/digits")
    for path in ("/api/v1/models/digits/", "/api/v1/models/a/b", "/x/api/v1/models/other", "/livez"):
        found.require(known, "GET", path)  # nothing is routed there
    for path in ("/api/v1/models/other", "/api/v1/models/digits%2f", "/api/v1/models/."):
        with pytest.raises(Forbidden):
            found.require(known, "GET", path)
        with pytest.raises(Forbidden):
            found.require(known, "HEAD", path)


def test_what_is_open_is_in_no_table() -> None:
    assert not {name.partition(" ")[2] for name in TABLE} & OPEN
    assert Permit(None).of == "all"
