"""Replaces running replicas one by one, each only after another is warm; the plan does it, this asks and waits."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from router.agent.intercom import Question
from router.agent.plan import Key
from router.agent.running import Running
from router.settings import Settings

LOOK_S = 0.05
WORD_S = 1.0  # so that the asker knows that we live
SLACK_S = 60.0  # on top of a start: acknowledgements, the old one's drain


class Replacements:
    """Answers the questions of `up`.

    `ask_again` forgets failed starts of a version, `mark` says whether another replica shall take the place of
    one, `given_up` why a version is not started any more, or None.
    """

    def __init__(
        self,
        settings: Settings,
        running: Mapping[str, Running],
        *,
        ask_again: Callable[[Key], None],
        mark: Callable[[Running, bool], None],
        given_up: Callable[[Key], str | None],
    ) -> None:
        self._settings = settings
        self._running = running
        self._ask_again = ask_again
        self._mark = mark
        self._given_up = given_up

    async def answer(self, question: Question) -> AsyncIterator[dict[str, Any]]:
        """`{"ask": "standing"}`: who we are. `{"ask": "replace", "model"?, "version"?}`: a line a replica.

        Other lines of a replacement hold `waiting`; `failed` is the last one, with the reason.
        """
        if question.get("ask") == "standing":
            yield {"pid": os.getpid(), "replicas": len(self._running)}
            return
        chosen = self._chosen(question.get("model"), question.get("version"))
        yield {"waiting": "", "of": len(chosen)}
        for replica in chosen:
            if replica.id in self._running and not replica.leaving() and not replica.outgoing:
                async for line in self._one(replica):
                    yield line
                    if "failed" in line:
                        return

    def _chosen(self, model: str | None, version: str | None) -> list[Running]:
        found = [
            each
            for each in self._running.values()
            if each.phase == "ready" and model in (None, each.key[0]) and version in (None, each.key[1])
        ]
        return sorted(found, key=lambda each: (each.key, each.began))

    async def _one(self, replica: Running) -> AsyncIterator[dict[str, Any]]:
        before = set(self._running)
        began = told = time.monotonic()
        end = began + self._settings.replica_start_timeout_s + replica.process.build_s + SLACK_S
        self._ask_again(replica.key)
        self._mark(replica, True)
        try:
            while replica.id in self._running:
                now = time.monotonic()
                failed = self._given_up(replica.key) if not replica.leaving() else None
                if failed is not None or now >= end:
                    yield {"failed": f"{replica.id} stays: {failed or 'its successor was not ready in time'}"}
                    return
                if now - told >= WORD_S:
                    told = now
                    yield {"waiting": replica.id}
                await asyncio.sleep(LOOK_S)
        finally:
            if replica.id in self._running and not replica.leaving():
                self._mark(replica, False)
        new = [
            each.id for each in self._running.values() if each.key == replica.key and each.id not in before
        ]
        took = round(time.monotonic() - began, 3)
        name = " ".join(replica.key)
        yield {"name": name, "old": replica.id, "new": new[-1] if new else None, "took_s": took}
