"""The end of every request: its record goes to the journal before its answer, and its counters move."""

from __future__ import annotations

from time import monotonic
from typing import Any

import orjson

from router.edge.codec import Excerpt
from router.edge.commit import Commits, Written
from router.edge.metrics import Metrics
from router.edge.passage import Passage
from router.edge.record import record


class Ledger:
    """Writes records of one router; raises LogUnavailable where the journal refuses."""

    def __init__(self, router: str, commits: Commits, metrics: Metrics) -> None:
        self.router = router
        self._commits = commits
        self._metrics = metrics

    def push(self, entry: bytes, written: Written) -> None:
        """Writes a record at the end of this turn of the loop, then calls `written`."""
        self._commits.push(entry, written)

    async def write(
        self, passage: Passage, status: int, error: str | None, request: Excerpt, response: Excerpt
    ) -> None:
        """The one record of an answer that is about to be sent whole."""
        total_ms = (monotonic() - passage.started) * 1e3
        entry = record(
            passage,
            self.router,
            status=status,
            error=error,
            total_ms=total_ms,
            request=request,
            response=response,
        )
        await self._commits.append(entry)

    async def begin(self, passage: Passage, request: Excerpt) -> str:
        """The first half of a stream's record, before its first byte; gives the record id."""
        entry = record(
            passage,
            self.router,
            status=None,
            error=None,
            total_ms=None,
            request=request,
            response=Excerpt(None),
        )
        return await self._commits.append(b'{"event":"begin",' + entry[1:])

    async def end(self, begin: str, passage: Passage, status: int, error: str | None, sent: Any) -> None:
        """The second half, after its last byte; `sent` are the bytes each way."""
        await self._commits.append(
            orjson.dumps(
                {
                    "event": "end",
                    "begin": begin,
                    "status": status,
                    "error": error,
                    "bytes": sent,
                    "attempts": [orjson.Fragment(attempt.json) for attempt in passage.attempts],
                    "upstream_ms": None if passage.upstream_ms is None else round(passage.upstream_ms, 3),
                    "total_ms": round((monotonic() - passage.started) * 1e3, 3),
                }
            )
        )

    def count(self, passage: Passage, status: int) -> None:
        """Counters and histograms of an answered request."""
        choice, item = passage.choice, passage.item
        model = passage.model if passage.known else ""
        version = "" if choice is None else choice.version
        self._metrics.count(model, version, "" if choice is None else choice.reason, status)
        total_ms = (monotonic() - passage.started) * 1e3
        if item is not None:
            self._metrics.observe(
                model, version, total_ms, item.queue_ms, item.upstream_ms, passage.batch_rows
            )
        elif passage.upstream_ms is not None:
            self._metrics.observe(model, version, total_ms, 0.0, passage.upstream_ms, 0)
        if passage.stale:
            self._metrics.count_stale(model, version)

    def count_fallback(self, model: str, version: str) -> None:
        """A request of `version` that another version is asked for."""
        self._metrics.count_fallback(model, version)
