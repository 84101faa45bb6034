"""The restarts that an operator asks of `up`: one at a time, its progress, its outcome; does none itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Literal

import msgspec
import structlog

from router.agent.intercom import Question
from router.clock import rfc3339

What = Literal["routers", "replicas", "agent"]

SOCKET = "up"
"""Where `up` listens, in the runtime folder; `{"ask": "restart", …}` and `{"ask": "progress"}`."""

_log = structlog.get_logger()


class RestartFailed(Exception):
    """It stopped on the way; what was not restarted runs on as it was."""


class Wanted(msgspec.Struct, frozen=True):
    """What to restart; model and version narrow down replicas."""

    what: What
    model: str | None = None
    version: str | None = None


class Step(msgspec.Struct, frozen=True):
    """One process in the place of another; `clean`: the old one ended by itself, with all its requests."""

    name: str
    old: str
    new: str | None
    took_s: float
    clean: bool = True


class Restart(msgspec.Struct):
    """One restart: `running`, then `done` or `failed` with an error."""

    id: str
    what: What
    model: str | None
    version: str | None
    began: str
    state: Literal["running", "done", "failed"] = "running"
    steps: list[Step] = []
    took_s: float | None = None
    error: str | None = None


Way = Callable[[Wanted], AsyncIterator[Step]]


class Restarts:
    """`spawn` runs a coroutine to its end, or cancels it at the end of `up`."""

    def __init__(self, ways: Mapping[What, Way], spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._ways = ways
        self._spawn = spawn
        self._last: Restart | None = None

    async def answer(self, question: Question) -> AsyncIterator[dict[str, Any]]:
        """`{"restart": document or null}`, with `refused` where one is running already."""
        refused = False
        if question.get("ask") == "restart":
            wanted = msgspec.convert({k: v for k, v in question.items() if k != "ask"}, Wanted)
            if self._last is not None and self._last.state == "running":
                refused = True
            else:
                self._begin(wanted)
        yield {"restart": msgspec.to_builtins(self._last), "refused": refused}

    def _begin(self, wanted: Wanted) -> None:
        began = rfc3339(time.time())
        self._last = Restart(secrets.token_hex(4), wanted.what, wanted.model, wanted.version, began, steps=[])
        self._spawn(self._run(self._last, wanted))

    async def _run(self, restart: Restart, wanted: Wanted) -> None:
        _log.info("restart_began", id=restart.id, what=restart.what)
        began = time.monotonic()
        restart.error = "`up` stopped meanwhile"
        try:
            async for step in self._ways[wanted.what](wanted):
                restart.steps.append(step)
            restart.error = None
        except RestartFailed as error:
            restart.error = str(error)
        except Exception as error:  # a fault of ours must not end `up`
            _log.error("restart_broke", id=restart.id, exc_info=error)
            restart.error = f"internal error: {error!r}"
        finally:
            restart.took_s = round(time.monotonic() - began, 3)
            restart.state = "done" if restart.error is None else "failed"
        _log.info("restart_ended", id=restart.id, state=restart.state, error=restart.error)
