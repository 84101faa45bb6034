"""Group commit: the records of all requests that end in one turn of the loop go out in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from router.journal.journal import Journal

Written = Callable[[Exception | None], None]


class Commits:
    """Appends to the journal before any of the waiting answers is sent."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[str] | Written]] = []

    def push(self, record: dict[str, Any], written: Written) -> None:
        """The same without waiting: `written` is called with None, or with why nothing was written."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append((record, written))

    async def append(self, record: dict[str, Any]) -> str:
        """The record id, once the record is written; empty where it was dropped under `log_on_full: serve`.

        Raises LogUnavailable under `refuse`.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((record, done))
        return await done

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            ids = self._journal.append([record for record, _ in waiting])
        except Exception as error:
            for _, done in waiting:
                if not isinstance(done, asyncio.Future):
                    done(error)
                elif not done.done():
                    done.set_exception(error)
            return
        for position, (_, done) in enumerate(waiting):
            if not isinstance(done, asyncio.Future):
                done(None)
            elif not done.done():
                done.set_result(ids[position] if ids else "")
