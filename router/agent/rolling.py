"""How routers, agent and replicas are restarted one by one without a failed request; decides not when."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import orjson

from router.agent import probe
from router.agent.child import Child
from router.agent.intercom import Silent, ask, ask_once
from router.agent.place import Place
from router.agent.restart import RestartFailed, Step, Wanted, Way, What
from router.settings import Settings

ROUTER = "router-"
ROUTER_READY_S = 30.0
LOOK_S = 0.05
SLACK_S = 3.0  # of a router that drains, over its drain and its shutdown time
AGENT_END_S = 10.0
AGENT_READY_S = 20.0
SILENCE_S = 10.0


class Rolling:
    """`children` are those of `up`; `start` begins one more in a router's slot, under another name of the table.

    `changed` is called where a child has left the table.
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        children: dict[str, Child],
        start: Callable[[str, str], Child],
        changed: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._place = place
        self._children = children
        self._start = start
        self._changed = changed
        self._stopping = stopping

    def ways(self) -> dict[What, Way]:
        """For each kind of process, what restarts it."""
        return {"routers": self.routers, "replicas": self.replicas, "agent": self.agent}

    async def routers(self, _: Wanted) -> AsyncIterator[Step]:
        """A new router accepts on the inherited socket before the old one of its slot begins to drain."""
        for name in [name for name in self._children if name.startswith(ROUTER)]:
            yield await self._router(name)

    async def _router(self, name: str) -> Step:
        if self._stopping.is_set():
            raise RestartFailed("`up` is stopping")
        began, old = time.monotonic(), self._children[name]
        beside = f"{name}.new"
        new = self._start(name, beside)
        try:
            await self._router_ready(new)
        except RestartFailed:
            await new.stop(SLACK_S, asyncio.Event())
            raise
        else:
            self._children[name], self._children[beside] = new, old
            was = old.id
            grace = (self._settings.drain_ms + self._settings.shutdown_ms) / 1000 + SLACK_S
            clean = await old.stop(grace, asyncio.Event())
            return Step(name, was, new.id, round(time.monotonic() - began, 3), clean)
        finally:
            del self._children[beside]
            self._changed()

    async def _router_ready(self, router: Child) -> None:
        """Its own endpoint opens once its table is read and its replicas are connected."""
        end = time.monotonic() + ROUTER_READY_S
        told = "it does not answer"
        while time.monotonic() < end:
            if self._stopping.is_set():
                raise RestartFailed("`up` is stopping")
            if router.id:
                try:
                    table = orjson.loads(
                        await probe.body(f"unix:{self._place.socket(router.id)}", "/table.json", 1.0)
                    )
                    if table["fresh"] or table["revision"]:
                        return
                    told = "it has no routing table: Redis is away"
                except (OSError, TimeoutError, ValueError, KeyError) as error:
                    told = str(error) or "it does not answer"
            await asyncio.sleep(LOOK_S)
        raise RestartFailed(
            f"{router.name} stays: its successor was not ready after {ROUTER_READY_S:g} s: {told}"
        )

    async def agent(self, _: Wanted) -> AsyncIterator[Step]:
        """The old agent leaves its replicas running, the next one adopts them."""
        began, child = time.monotonic(), self._children["agent"]
        old = child.pid
        clean = await child.renew(signal.SIGUSR1, AGENT_END_S)
        new = await self._agent_ready(old, began + AGENT_END_S + AGENT_READY_S)
        yield Step("agent", str(old), str(new), round(time.monotonic() - began, 3), clean)

    async def _agent_ready(self, old: int | None, end: float) -> int:
        while time.monotonic() < end:
            try:
                standing = await ask_once(self._place.socket("agent"), {"ask": "standing"})
                if standing["pid"] != old:
                    return int(standing["pid"])
            except Silent:
                pass
            await asyncio.sleep(LOOK_S)
        raise RestartFailed(f"the new agent does not answer; see {self._place.logs / 'agent.log'}")

    async def replicas(self, wanted: Wanted) -> AsyncIterator[Step]:
        """The agent does it; it speaks at least once a second."""
        question = {"ask": "replace", "model": wanted.model, "version": wanted.version}
        try:
            async with aclosing(ask(self._place.socket("agent"), question, SILENCE_S)) as lines:  # type: ignore[type-var]
                async for line in lines:
                    if "failed" in line:
                        raise RestartFailed(line["failed"])
                    if "waiting" not in line:
                        yield Step(**line)
        except Silent as error:
            raise RestartFailed(f"{error}; what was not replaced runs on") from error
