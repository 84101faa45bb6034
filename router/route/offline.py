"""A router's life without Redis: the last good table on disk, and the agent's note of this host's replicas.

Reads and writes these two files; decides nothing about routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from router.documents import ModelState, Replica
from router.route.snapshot import Snapshot, load, local_replicas, save

log = structlog.get_logger(__name__)

SAVE_EVERY = 0.5  # seconds between two writings of the last-good file


class LastGood:
    """The last-good table: read once at the start, written a little after each change of the table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._due: float | None = None
        self._saved_at = float("-inf")

    async def load(self) -> Snapshot | None:
        """What was written last; its replicas are gone, those of now are in the agent's note."""
        found = await asyncio.to_thread(load, self._path)
        if found is None:
            return None
        models = tuple(msgspec.structs.replace(state, replicas=()) for state in found.models)
        return msgspec.structs.replace(found, models=models)

    def changed(self, now: float) -> None:
        """The table is another one: it is to be written, but not more often than twice a second."""
        if self._due is None:
            self._due = max(now, self._saved_at + SAVE_EVERY)

    def due(self, now: float) -> bool:
        """Whether to write now."""
        return self._due is not None and now >= self._due

    async def save(self, snapshot: Snapshot, now: float) -> None:
        """Writes; a disk that refuses is told of, and tried again at the next change."""
        self._due, self._saved_at = None, now
        try:
            await asyncio.to_thread(save, self._path, snapshot)
        except OSError as error:
            log.error("last_good_table_not_written", error=str(error))


class LocalReplicas:
    """The replicas of this host as its agent last told."""

    def __init__(self, path: Path, node: str, data_dir: Path) -> None:
        self._path = path
        self._node = node
        self._data_dir = data_dir  # where a broken note is put aside
        self._read_at = 0  # the file's own time

    def forget(self) -> None:
        """Redis told: the note is to be read again when Redis is away the next time."""
        self._read_at = 0

    async def news(self, states: Mapping[str, ModelState]) -> dict[str, ModelState]:
        """The models whose replicas are other ones by now; none where the note is the one that was read."""
        try:
            written_at = (await asyncio.to_thread(self._path.stat)).st_mtime_ns
        except FileNotFoundError:
            return {}
        if written_at == self._read_at:
            return {}
        replicas = await asyncio.to_thread(local_replicas, self._path, self._data_dir)
        if replicas is None:
            return {}
        self._read_at = written_at
        mine: dict[str, list[Replica]] = {}
        for replica in replicas:
            mine.setdefault(replica.model, []).append(replica)
        found = {}
        for model, state in states.items():
            others = [replica for replica in state.replicas if replica.node != self._node]
            now = (*others, *mine.get(model, ()))
            if now != state.replicas:
                found[model] = msgspec.structs.replace(state, replicas=now)
        return found
