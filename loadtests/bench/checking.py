"""The pass before any timing: every body to every contender, every answer against onnxruntime's."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np

from loadtests.bench.bodies import Outputs
from loadtests.bench.contender import Contender

AT_ONCE = 64


class Wrong(AssertionError):
    """An answer is not onnxruntime's; nothing may be timed."""


def check(contender: Contender) -> int:
    """Sends all bodies, 64 at once so that batches form; gives their number. Raises Wrong."""
    return asyncio.run(_check(contender))


async def _check(contender: Contender) -> int:
    bodies = contender.bodies
    limits = httpx.Limits(max_connections=AT_ONCE)
    turns = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(timeout=30, limits=limits, headers=dict(bodies.form.headers)) as client:

        async def one(index: int) -> None:
            async with turns:
                answer = await client.post(contender.url, content=bodies.requests[index])
            if answer.status_code != 200:
                told = f"{answer.status_code} {answer.text[:300]}"
                raise Wrong(f"{contender.title}: body {index} was answered {told}")
            given = bodies.form.read(answer.content, dict(answer.headers))
            compare(given, bodies.expected[index], bodies.atol, f"{contender.title}: body {index}")

        async with asyncio.TaskGroup() as group:
            for index in range(len(bodies.requests)):
                group.create_task(one(index))
    return len(bodies.requests)


def compare(given: Outputs, expected: Outputs, atol: float, what: str) -> None:
    """Every output there, of its shape, floats within `atol`, all else exactly; raises Wrong."""
    if given.keys() != expected.keys():
        raise Wrong(f"{what}: outputs {sorted(given)}, expected {sorted(expected)}")
    for name, wanted in expected.items():
        got = given[name]
        if got.shape != wanted.shape:
            raise Wrong(f"{what}: {name} has shape {list(got.shape)}, expected {list(wanted.shape)}")
        tolerance = atol if wanted.dtype.kind == "f" else 0.0
        if not np.allclose(got.astype(np.float64), wanted.astype(np.float64), rtol=0, atol=tolerance):
            raise Wrong(f"{what}: {name} is {got.tolist()}, expected {wanted.tolist()}"[:500])
