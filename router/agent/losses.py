"""Counts the replicas that were lost and why, since the agent started; control renders them as a metric."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import structlog

from router.agent import snapshot
from router.agent.plan import Key

FILE = "losses.json"
"""`{"losses": [[model, version, reason, number]…]}` in the runtime folder."""

Loss = Literal["crashed", "hung", "memory", "load"]

_log = structlog.get_logger()


class Losses:
    """Kept in a file for others to read; what is lost with an agent is only numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counted: Counter[tuple[str, str, Loss]] = Counter()
        self._last: dict[Key, str] = {}

    def count(self, key: Key, reason: Loss, text: str) -> None:
        """Notes a loss; `text` is for the replica that takes its place."""
        self._counted[*key, reason] += 1
        self._last[key] = text
        rows = [[*named, number] for named, number in sorted(self._counted.items())]
        try:
            snapshot.write(self._path, {"losses": rows})
        except OSError as error:
            _log.warning("losses_not_written", error=str(error))

    def take(self, key: Key) -> str | None:
        """What was last noted for a version, once."""
        return self._last.pop(key, None)
