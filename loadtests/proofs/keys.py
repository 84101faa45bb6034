"""A key is revoked under load: what was sent after the 200 is refused, by every router; others notice nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx

from loadtests.caller import Caller, Seen, digit_rows
from loadtests.fleet import Fleet
from loadtests.proofs.figures import Figures, milliseconds, percentile
from loadtests.proofs.flips import PATH

WITHIN_S = 0.020
CONNECTIONS = 16  # so that each router has some
PAUSE_S = 0.002
BEFORE_S, AFTER_S = 0.25, 0.25
SERVED_S = 10.0


@dataclass(slots=True)
class Crowd:
    """Callers of one key, each on its own connection, until told to stop."""

    port: int
    secret: str
    body: bytes
    seen: list[Seen] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, count: int = CONNECTIONS) -> None:
        """Begins."""
        self._tasks = [asyncio.ensure_future(self._ask()) for _ in range(count)]

    async def stop(self) -> list[Seen]:
        """Everything seen, in the order of sending."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        return sorted(self.seen, key=lambda each: each.sent)

    async def _ask(self) -> None:
        caller = Caller(self.port, PATH)
        headers = {"authorization": f"Bearer {self.secret}"}
        while not self._stop.is_set():
            self.seen.append(await caller.call(self.body, headers))
            await asyncio.sleep(PAUSE_S)
        caller.close()


async def revoked(fleet: Fleet, count: int, routers: int) -> Figures:
    """Makes, uses and revokes `count` keys, one after the other, beside a key that stays."""
    (body,) = digit_rows(1)
    served: set[str] = set()
    late: list[float] = []
    took: list[float] = []
    refused = answered = 0
    async with httpx.AsyncClient(
        base_url=str(fleet.control.base_url), headers=fleet.control.headers, timeout=15
    ) as client:
        stays = Crowd(fleet.port, await make(client, "stays"), body)
        stays.start(4)
        for number in range(count):
            secret = await make(client, f"goes-{number}")
            crowd = Crowd(fleet.port, secret, body)
            crowd.start()
            await asyncio.sleep(BEFORE_S)
            answer = await client.post(f"/keys/{secret[:11]}/revoke", json={})
            done = monotonic()
            assert answer.status_code == 200, answer.text
            assert answer.json()["routers"]["known"] == routers, answer.text
            took.append(answer.json()["took_ms"] / 1e3)
            await asyncio.sleep(AFTER_S)
            seen = await crowd.stop()
            assert {each.status for each in seen} <= {200, 401}, [
                e for e in seen if e.status not in (200, 401)
            ]
            first = seen[0]
            assert first.status == 200, "a new key counts as soon as its 201 is there"
            late += [each.sent - done for each in seen if each.status == 200]
            refused += sum(each.status == 401 for each in seen)
            answered += sum(each.status == 200 for each in seen)
        others = await stays.stop()
    served |= await served_by(fleet, {each.request_id for each in others[-200:] if each.status == 200})
    assert not [each for each in others if each.status != 200], "a key that stays was refused"
    assert len(served) > 1 or routers == 1, served
    assert max(late) < WITHIN_S, f"answered {max(late) * 1e3:.1f} ms after the 200 of the revocation"
    return {
        "keys": count,
        "routers": routers,
        "answered": answered,
        "refused": refused,
        "of the key that stays": len(others),
        "its failures": 0,
        "last answer, ms after the 200": round(max(late) * 1e3, 2),
        "revocation p50 ms": round(percentile(took, 0.5) * 1e3, 2),
    } | milliseconds(took, "revocation")


async def make(client: httpx.AsyncClient, name: str) -> str:
    """The secret of a new key for digits."""
    body = {"name": name, "grants": [{"role": "caller", "models": "digits"}]}
    answer = await client.post("/keys", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


async def served_by(fleet: Fleet, request_ids: set[str]) -> set[str]:
    """The routers in the records of these requests."""
    found: set[str] = set()
    end = monotonic() + SERVED_S
    waiting = set(request_ids)
    while waiting and monotonic() < end:
        records: list[dict[str, Any]] = await asyncio.to_thread(fleet.records, model="digits")
        for record in records:
            if record["request_id"] in waiting:
                waiting.discard(record["request_id"])
                found.add(record["router"])
    return found
