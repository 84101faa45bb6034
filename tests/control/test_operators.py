"""Two hundred operators at once, on two real control processes: one line of history, each entry one actor."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.access.grant import Grant
from router.access.key import Key
from router.registry.audit import broken_at
from router.registry.connection import connect
from router.registry.keyring import change_key
from router.registry.registry import Registry
from tests.control.installation import TESTER, document, replica
from tests.control.test_main import Process

OPERATORS = 200
ROUNDS = 3
VERSIONS = ("1", "2", "3", "4")
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Done:
    """A promotion that was answered as made: by whom, to what, on which epoch it insisted, which it got."""

    actor: str
    version: str
    insisted: int | None
    epoch: int


@pytest.fixture
def controls(redis_url: str, tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    """Two of one host: they share the folder, the key and the file of signed heads."""
    made = [Process(redis_url, tmp_path) for _ in range(2)]
    yield made[0], made[1]
    for process in made:
        process.close()


def secret(number: int) -> str:
    return f"pm_{number:08d}_{'s' * 32}"


async def prepared(url: str) -> None:
    """Four warm versions, and a key for each operator."""
    registry = Registry(connect(url))
    try:
        for version in VERSIONS:
            await registry.add_version(document("digits", version), TESTER)
            await registry.deploy("digits", version, 1, TESTER)
            await registry.put_replica(replica("digits", version))
        for number in range(OPERATORS):
            key = Key(
                id=f"{number:08d}",
                name=f"op-{number}",
                digest=hashlib.sha256(secret(number).encode()).hexdigest(),
                grants=(Grant("deployer"),),
                created="2026-01-01T00:00:00.000000Z",
                created_by="tester",
            )
            await change_key(registry, lambda _, key=key: key, TESTER, "create")
    finally:
        await registry.close()


async def operator(client: httpx.AsyncClient, number: int, tally: dict[int, int]) -> list[Done]:
    """Promotes a few times; every second operator insists on the epoch it has read."""
    done = []
    headers = {"authorization": f"Bearer {secret(number)}"}
    for turn in range(ROUNDS):
        version, insisted = VERSIONS[(number + turn) % len(VERSIONS)], None
        asking = dict(headers)
        if number % 2:
            seen = await client.get("/models/digits/history", params={"limit": 1000}, headers=headers)
            assert seen.status_code == 200, seen.text
            insisted = seen.json()["history"][-1]["epoch"]
            asking["if-match"] = str(insisted)
        answer = await client.post(
            "/models/digits/promote", json={"version": version, "reason": f"turn {turn}"}, headers=asking
        )
        tally[answer.status_code] = tally.get(answer.status_code, 0) + 1
        if answer.status_code == 200 and answer.json()["changed"]:
            done.append(Done(f"op-{number}", version, insisted, answer.json()["epoch"]))
        else:
            assert answer.status_code in (200, 412, 503), answer.text
    return done


def test_two_hundred_operators_make_one_line_of_history(
    controls: tuple[Process, Process], redis_url: str
) -> None:
    tally: dict[int, int] = {}

    async def race() -> list[Done]:
        await prepared(redis_url)
        first = controls[0].client.post("/models/digits/promote", json={"version": "1"})
        assert first.status_code == 200
        limits = httpx.Limits(max_connections=OPERATORS // 2)
        async with (
            asyncio.timeout(DEADLINE_S),
            httpx.AsyncClient(base_url=controls[0].client.base_url, timeout=30, limits=limits) as one,
            httpx.AsyncClient(base_url=controls[1].client.base_url, timeout=30, limits=limits) as other,
        ):
            each = [operator((one, other)[n % 4 // 2], n, tally) for n in range(OPERATORS)]
            return [done for found in await asyncio.gather(*each) for done in found]

    done = asyncio.run(race())
    history: list[dict[str, Any]] = (
        controls[0].client.get("/models/digits/history", params={"limit": 1000}).json()["history"]
    )
    # One line: each change begins where the one before ended, and its number is higher.
    for before, after in pairwise(history):
        assert after["before"] == before["after"]
        assert after["epoch"] > before["epoch"]
    # Each entry one actor, and none is lost: what was answered as made stands there, once, and nothing else.
    told = {entry["epoch"]: (entry["actor"], entry["after"]["active"]) for entry in history[1:]}
    assert told == {each.epoch: (each.actor, each.version) for each in done}
    assert len(done) == len(history) - 1
    # Who insisted on an epoch changed that one, and no other.
    before = {entry["epoch"]: entry["before"]["epoch"] for entry in history[1:]}
    assert all(before[each.epoch] == each.insisted for each in done if each.insisted is not None)
    assert any(each.insisted is None for each in done)
    assert tally.get(412, 0) > 0
    chain = [json.loads(line) for line in controls[1].client.get("/models/digits/audit").text.splitlines()]
    assert broken_at(chain) is None
    flips = [entry for entry in chain if entry["action"] == "route.promote" and entry["outcome"] == "applied"]
    assert [(flip["actor"], flip["after"]) for flip in flips] == [(e["actor"], e["after"]) for e in history]
    verdict = controls[0].client.get("/models/digits/audit/verify").json()
    assert verdict["intact"], verdict["findings"][:3]
