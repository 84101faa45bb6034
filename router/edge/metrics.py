"""Counters of the hot path: plain numbers, rendered only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

BOUNDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram:
    """Counts by upper bound, and the sum; the last count is that above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """What one router counted, by model and version; requests of unknown models share the empty name."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str, int], int] = {}
        self.durations: dict[tuple[str, str], tuple[Histogram, Histogram, Histogram, Histogram]] = {}
        self.stale: dict[tuple[str, str], int] = {}
        self.fallbacks: dict[tuple[str, str], int] = {}

    def count(self, model: str, version: str, reason: str, status: int) -> None:
        """One answered request."""
        key = (model, version, reason, status)
        self.requests[key] = self.requests.get(key, 0) + 1

    def observe(
        self, model: str, version: str, total_ms: float, queue_ms: float, upstream_ms: float, rows: int
    ) -> None:
        """The times of one request that a version answered, and the rows of its batch."""
        kept = self.durations.get((model, version))
        if kept is None:
            kept = (Histogram(BOUNDS), Histogram(BOUNDS), Histogram(BOUNDS), Histogram(ROWS))
            self.durations[model, version] = kept
        kept[0].observe(total_ms / 1e3)
        kept[1].observe(queue_ms / 1e3)
        kept[2].observe(upstream_ms / 1e3)
        if rows:
            kept[3].observe(rows)

    def count_stale(self, model: str, version: str) -> None:
        """One answer marked `x-route-stale`."""
        self.stale[model, version] = self.stale.get((model, version), 0) + 1

    def count_fallback(self, model: str, version: str) -> None:
        """One request that another version is asked for; `version` is the one that could not answer."""
        self.fallbacks[model, version] = self.fallbacks.get((model, version), 0) + 1

    def document(self, router: str, extra_gauges: list[Any], extra_counters: list[Any]) -> dict[str, Any]:
        """Everything, in the form the control process renders."""
        labels = ["model", "version"]
        kinds = (
            ("pointsman_request_duration_seconds", "From the request's head to its answer."),
            ("pointsman_queue_duration_seconds", "Waiting for a replica."),
            ("pointsman_upstream_duration_seconds", "One exchange with a replica."),
            ("pointsman_batch_rows", "Rows of the batch a request travelled in."),
        )
        histograms = []
        for index, (name, text) in enumerate(kinds):
            bounds = ROWS if name.endswith("rows") else BOUNDS
            series = [
                [list(key), kept[index].counts, kept[index].total] for key, kept in self.durations.items()
            ]
            histograms.append([name, text, labels, list(bounds), series])
        requests = [[list(map(str, key)), value] for key, value in self.requests.items()]
        stale = [[list(key), value] for key, value in self.stale.items()]
        fallbacks = [[list(key), value] for key, value in self.fallbacks.items()]
        return {
            "router": router,
            "counters": [
                ["pointsman_requests_total", "Answered requests.", [*labels, "reason", "code"], requests],
                ["pointsman_stale_answers_total", "Answers marked x-route-stale.", labels, stale],
                ["pointsman_fallbacks_total", "Requests another version was asked for.", labels, fallbacks],
                *extra_counters,
            ],
            "gauges": extra_gauges,
            "histograms": histograms,
        }
