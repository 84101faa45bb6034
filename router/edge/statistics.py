"""Triton's model statistics, from this router's own counters: with several routers each tells its share."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from router.edge.endpoint import endpoint
from router.edge.metadata import MODEL, VERSION, available
from router.edge.metrics import Metrics
from router.errors import NotFound
from router.names import version_order
from router.route.choice import entry_of
from router.route.watch import Watch

NS = 1e9


class Statistics:
    """The statistics paths. Counts are requests, of any protocol, since this router process began.

    Times (nanoseconds, sums) are of all requests that reached a replica. `GET /metrics` of the control listener
    has all routers together.
    """

    def __init__(self, watch: Watch, metrics: Metrics) -> None:
        self._watch = watch
        self._metrics = metrics
        # The first comes before the metadata of a model called "stats", as it does in Triton.
        self.routes = [
            endpoint("/v2/models/stats", self._all),
            *(endpoint(f"{model}/stats", self._one) for model in (MODEL, VERSION)),
        ]

    async def _all(self, _: Request) -> Any:
        return {
            "model_stats": [each for name in sorted(self._watch.table.entries) for each in self._of(name)]
        }

    async def _one(self, request: Request) -> Any:
        model, version = request.path_params["model"], request.path_params.get("version")
        entry = entry_of(self._watch.table, model)
        if version is None:
            return {"model_stats": self._of(model)}
        if version not in entry.known:
            raise NotFound(f"model {model} has no version {version[:80]!r}", code="unknown_version")
        return {"model_stats": [self._version(model, version)]}

    def _of(self, model: str) -> list[dict[str, Any]]:
        """Every version that answers now or ever did."""
        names = {version for name, version, *_ in self._metrics.requests if name == model and version}
        names.update(available(self._watch, self._watch.table.entries[model]))
        return [self._version(model, name) for name in sorted(names, key=version_order)]

    def _version(self, model: str, version: str) -> dict[str, Any]:
        good = bad = 0
        for (name, number, _, status), count in self._metrics.requests.items():
            if (name, number) == (model, version):
                good, bad = (good + count, bad) if status < 400 else (good, bad + count)
        kept = self._metrics.durations.get((model, version))
        total, queue, upstream = (0.0, 0.0, 0.0) if kept is None else [each.total for each in kept[:3]]
        reached = 0 if kept is None else sum(kept[0].counts)
        return {
            "name": model,
            "version": version,
            "inference_count": good,
            "inference_stats": {
                "success": _sum(good, total),
                "fail": _sum(bad, 0.0),
                "queue": _sum(reached, queue),
                "compute_infer": _sum(reached, upstream),
            },
            "batch_stats": [],
        }


def _sum(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * NS)}
