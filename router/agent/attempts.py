"""What is known about starting each version here: failed loads, losses, what was given up; starts nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from router.agent.losses import Loss, Losses
from router.agent.plan import Key, Tries
from router.agent.roster import Roster
from router.agent.running import Running, failed
from router.clock import rfc3339

_log = structlog.get_logger()


class Attempts:
    """`by_key` is what the plan looks at; a version that is given up is told of in the roster."""

    def __init__(self, roster: Roster, losses: Losses, node: str, clock: Callable[[], float]) -> None:
        self.by_key: dict[Key, Tries] = {}
        self._roster = roster
        self._losses = losses
        self._node = node
        self._clock = clock

    def ask_again(self, key: Key) -> None:
        """Somebody asks for the version anew: what failed before is forgotten."""
        self.by_key.pop(key, None)
        self._forget_failed(key)

    def loaded(self, key: Key) -> None:
        """A replica of the version became warm."""
        self.by_key[key] = self.by_key.get(key, Tries()).after_load()
        self._forget_failed(key)

    def failed_load(
        self,
        key: Key,
        replica_id: str,
        digest: str,
        error: str,
        lines: tuple[str, ...],
        *,
        final: bool = False,
    ) -> None:
        """A replica was not warm in the end; `lines` are the last of its log."""
        self._losses.count(key, "load", f"{replica_id}: {error}")
        tries = self.by_key.get(key, Tries()).after_failed_load(self._clock(), final=final)
        self.by_key[key] = tries
        _log.error("replica_failed", replica=replica_id, error=error, tries=tries.loads_failed)
        if tries.given_up:
            self._forget_failed(key)
            since = rfc3339(time.time())
            self._roster.put(failed(replica_id, key, digest, self._node, since, error, lines))

    def lost(self, replica: Running, reason: Loss, text: str) -> None:
        """A warm replica ended unasked, or has to be replaced."""
        self._losses.count(replica.key, reason, f"{replica.id}: {text}")
        now = self._clock()
        tries = self.by_key.get(replica.key, Tries())
        self.by_key[replica.key] = tries.after_crash(now, now - replica.began)

    def last_loss(self, key: Key) -> str | None:
        """Why the last replica of the version was lost, told once."""
        return self._losses.take(key)

    def given_up(self, key: Key) -> str | None:
        """Why no replica of a version is started any more, or None."""
        if not self.by_key.get(key, Tries()).given_up:
            return None
        for replica in self._roster.all():
            if replica.state == "failed" and (replica.model, replica.version) == key:
                return replica.error
        return "it does not load"

    def _forget_failed(self, key: Key) -> None:
        for replica in self._roster.all():
            if replica.state == "failed" and (replica.model, replica.version) == key:
                self._roster.drop(replica.id)
