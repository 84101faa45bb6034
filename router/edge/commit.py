"""Group commit: the records of all requests that end in one turn of the loop go out in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from router.journal.journal import Journal

Written = Callable[[str, Exception | None], None]
"""Gets the record id (empty: dropped under `log_on_full: serve`), or why nothing was written."""


class Commits:
    """Appends to the journal before any of the waiting answers is sent."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[bytes, Written]] = []

    def push(self, record: bytes, written: Written) -> None:
        """Writes the record at the end of this turn of the loop, then calls `written`."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append((record, written))

    async def append(self, record: bytes) -> str:
        """The same, waiting; raises LogUnavailable under `log_on_full: refuse`."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def written(record_id: str, refused: Exception | None) -> None:
            if done.done():
                return
            if refused is None:
                done.set_result(record_id)
            else:
                done.set_exception(refused)

        self.push(record, written)
        return await done

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            ids = self._journal.append([record for record, _ in waiting])
        except Exception as error:
            for _, written in waiting:
                written("", error)
            return
        for position, (_, written) in enumerate(waiting):
            written(ids[position] if ids else "", None)
