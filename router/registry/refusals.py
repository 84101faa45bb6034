"""Refused attempts in the audit chains: entries that change nothing else, no revision and no route."""

from __future__ import annotations

import time

from router.clock import rfc3339
from router.registry import audit, keys
from router.registry.audit import Actor, Refusal
from router.registry.registry import Registry
from router.registry.script import Script

ATTEMPTS = 16
"""Against others' changes of a chain. What is lost then is only the mention of a refusal."""


class Refusals:
    """Writes them. Raises redis' own errors."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._append = Script(registry.redis, "append")

    async def write(self, chain: str, actor: Actor, action: str, refusal: Refusal) -> bool:
        """One entry behind a chain; False where others were faster time and again: then it is not written."""
        notary = self._registry.notary
        for _ in range(ATTEMPTS):
            [stored] = await self._registry.look(("HGET", keys.HEADS, chain))
            line, head, now = _entry(stored, chain, actor, action, refusal)
            signed = notary.sign(chain, head.seq, head.hash, now) if notary else b""
            names = [keys.HEADS, keys.audit(chain), keys.SIGNED]
            if await self._append(names, [chain, stored or b"", line, head.text(), signed]):
                if notary:
                    notary.keep(signed)
                return True
        return False


def _entry(
    stored: bytes | None, chain: str, actor: Actor, action: str, refusal: Refusal
) -> tuple[bytes, audit.Head, str]:
    """The entry, the head and the time of what follows the stored head."""
    now = rfc3339(time.time())
    line, head = audit.entry(
        audit.Head.parse(None if stored is None else stored.decode()),
        time=now,
        actor=actor,
        action=action,
        object=chain,
        before=None,
        after=None,
        refusal=refusal,
    )
    return line, head, now
