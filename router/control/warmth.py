"""Waits until a version's replicas are ready, or says which one failed and why; it starts nothing."""

from __future__ import annotations

import asyncio
import time

from router.control.away import LOST
from router.errors import Conflict, DeadlineExceeded
from router.registry.registry import Registry
from router.route.deployment import failed

LOOK_S = 0.1


async def wait_until_warm(registry: Registry, name: tuple[str, str], wanted: int, seconds: float) -> int:
    """The number of ready replicas once it is at least `wanted`.

    Raises Conflict `replica_failed` at the first failure (earlier ones are gone: who asks for a version again
    drops them first), DeadlineExceeded `deploy_timeout`. Redis may go and come meanwhile.
    """
    model, version = name
    deadline = time.monotonic() + seconds
    ready, last = 0, ""
    while True:
        try:
            state = await registry.model_state(model)
        except LOST:
            last = "; Redis does not answer"
        else:
            last = ""
            ready = sum(r.version == version and r.state == "ready" for r in state.replicas)
            if ready >= wanted:
                return ready
            for replica in failed(state, version):
                raise Conflict(
                    f"replica {replica.id} failed: {replica.error or 'no reason is known'}",
                    code="replica_failed",
                )
        if time.monotonic() + LOOK_S > deadline:
            text = f"{ready} of {wanted} replicas of version {version} were ready after {seconds:g} s{last}"
            raise DeadlineExceeded(text, code="deploy_timeout")
        await asyncio.sleep(LOOK_S)
