"""More than the replicas can do: goodput stays flat, retries stay within their budget."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic

from loadtests.caller import Caller, Seen
from loadtests.proofs.figures import Figures, percentile
from loadtests.stand import PATH, Stand

BODY = b'{"instances":[[1]]}'
DEADLINE_MS = 1000
CALIBRATE_S = 2.0
FLAT_BYTES = 16 << 20
GOODPUT = 0.9
AMPLIFICATION = 1.2


async def storm(port: int, rate: float, seconds: float, deadline_ms: int = DEADLINE_MS) -> list[Seen]:
    """Open loop: a request is sent when it is due, on a connection that is idle or a new one."""
    headers = {"x-request-timeout-ms": str(deadline_ms)}
    idle: list[Caller] = []
    everyone: list[Caller] = []
    seen: list[Seen] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one() -> None:
        if not idle:
            idle.append(Caller(port, PATH))
            everyone.append(idle[-1])
        caller = idle.pop()
        seen.append(await caller.call(BODY, headers))
        idle.append(caller)

    began = monotonic()
    for number in range(int(rate * seconds)):
        if (wait := began + number / rate - monotonic()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.ensure_future(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for caller in everyone:
        caller.close()
    return seen


async def capacity(port: int, callers: int = 4) -> float:
    """Answers a second that this many callers get who wait for each."""
    until, done = monotonic() + CALIBRATE_S, 0

    async def one() -> None:
        nonlocal done
        caller = Caller(port, PATH)
        while monotonic() < until:
            assert (await caller.call(BODY)).status == 200
            done += 1
        caller.close()

    await asyncio.gather(*[one() for _ in range(callers)])
    return done / CALIBRATE_S


async def flat(stand: Stand, *, seconds: float) -> Figures:
    """0.5 to 4 times the capacity of a service with a fixed 5 ms a call."""
    full = await capacity(stand.port)
    goodput: dict[float, float] = {}
    memory: dict[float, int] = {}
    statuses: Counter[int] = Counter()
    worst = 0.0
    for load in (0.5, 1.0, 2.0, 4.0):
        seen = await storm(stand.port, load * full, seconds)
        answered = [each.took for each in seen if each.status == 200]
        assert {each.status for each in seen} <= {200, 503, 504}, Counter(each.status for each in seen)
        assert percentile(answered, 0.99) <= DEADLINE_MS / 1e3, percentile(answered, 0.99)
        worst = max(worst, percentile(answered, 0.99))
        statuses.update(each.status for each in seen)
        goodput[load] = sum(took <= DEADLINE_MS / 1e3 for took in answered) / seconds
        memory[load] = stand.memory()
    assert goodput[2.0] >= GOODPUT * max(goodput.values()), goodput
    assert goodput[4.0] >= GOODPUT * max(goodput.values()), goodput
    growth = memory[4.0] - memory[2.0]
    assert growth < FLAT_BYTES, memory
    return {
        "capacity rps": round(full),
        **{f"goodput at {load} ×": round(value) for load, value in goodput.items()},
        "goodput at 2 × over peak": round(goodput[2.0] / max(goodput.values()), 3),
        "p99 of the answered ms (worst)": round(worst * 1e3),
        "refused 503": statuses[503],
        "late 504": statuses[504],
        "memory growth MiB, 2 × to 4 ×": round(growth / (1 << 20), 1),
    }


async def refused(stand: Stand, how: str, *, seconds: float, rate: float = 200.0) -> Figures:
    """Every replica answers 503: what they get over what was asked. `how` goes into the figures' names."""
    seen = await storm(stand.port, rate, seconds)
    assert {each.status for each in seen} == {503}, Counter(each.status for each in seen)
    calls = await asyncio.to_thread(stand.calls)
    amplification = calls / len(seen)
    assert amplification <= AMPLIFICATION, amplification
    return {f"requests{how}": len(seen), f"calls{how}": calls, f"amplification{how}": round(amplification, 3)}
