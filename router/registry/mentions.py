"""Mentions refused attempts in the audit, within a budget: a flood of them is counted, not written."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

import structlog
from redis.exceptions import RedisError

from router.audit.budget import Budget
from router.errors import PointsmanError
from router.outward import without_places
from router.registry.audit import Actor, Refusal
from router.registry.keys import INSTALLATION, KEYRING
from router.registry.refusals import Refusals
from router.registry.registry import Registry
from router.veil import veiled_text

WRITE_S = 0.5  # longest wait of a refusal for its entry
PATH_CHARS, ERROR_CHARS = 200, 300
NO_ATTEMPT = frozenset({"not_found", "unknown_path", "method_not_allowed", "hung_up", "receive_timeout"})
"""There is nothing that was asked for, or the question never arrived."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Something refused: who, what, of which model, and why not."""

    actor: Actor
    action: str
    model: str | None
    refusal: Refusal


def attempt(
    actor: Actor, action: str, model: str | None, path: str, error: tuple[str, str]
) -> Attempt | None:
    """From a path and a code with its text; None where nothing was attempted. No secret stays in it."""
    code, text = error
    if code in NO_ATTEMPT:
        return None
    path = veiled_text(path.encode("utf-8", "replace").decode())[:PATH_CHARS]
    return Attempt(actor, action, model, Refusal(path, code, veiled_text(without_places(text))[:ERROR_CHARS]))


class Mentions:
    """Of one process. It never raises: nobody is let in or kept out by an entry that is missing."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._refusals: Refusals | None = None
        self._budget = Budget()

    async def note(self, made: Attempt | None) -> None:
        """Writes it, or counts it."""
        if made is None:
            return
        caller = (made.actor.name, made.actor.auth)
        more = self._budget.admit(caller, made, time.monotonic())
        if more is not None:
            await self._write(made, more)

    async def of(self, error: PointsmanError, actor: Actor, action: str, model: str, path: str) -> None:
        """The same of an error, where it is a refusal and no failure of ours."""
        if error.status < 500:
            await self.note(attempt(actor, action, model, path, (error.code, error.message)))

    async def write_due(self) -> None:
        """Writes what was counted and may be written by now."""
        for made, more in self._budget.due(time.monotonic()):
            if isinstance(made, Attempt):
                await self._write(made, more)

    async def _write(self, made: Attempt, more: int) -> None:
        why = "too many changes at once"
        if self._refusals is None:
            self._refusals = Refusals(self._registry)
        try:
            async with asyncio.timeout(WRITE_S):
                chain, refusal = await self._chain(made), replace(made.refusal, more=more)
                written = await self._refusals.write(chain, made.actor, made.action, refusal)
        except (TimeoutError, RedisError, OSError) as error:
            written, why = False, str(error) or "Redis does not answer"
        if not written:
            log.error("audit_refusal_lost", actor=made.actor.name, action=made.action, error=why)

    async def _chain(self, made: Attempt) -> str:
        """Names that are no model's make no chains."""
        if made.action.startswith("key."):
            return KEYRING
        if made.model is not None and await self._registry.exists(made.model):
            return made.model
        return INSTALLATION
