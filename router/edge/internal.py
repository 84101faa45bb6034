"""What a router tells its own host over a Unix socket: its counters and its table; never the network."""

from __future__ import annotations

from time import monotonic
from typing import Any

import msgspec
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router.connections import Connections
from router.edge.metrics import Metrics
from router.edge.shedding import Shedding
from router.journal.journal import Journal
from router.route.watch import Watch
from router.upstream.upstream import Upstream


class Internal:
    """Gauges read from where they live, at the moment they are asked for."""

    def __init__(
        self,
        router: str,
        metrics: Metrics,
        watch: Watch,
        upstream: Upstream,
        journal: Journal,
        shedding: Shedding,
        places: Connections,
    ) -> None:
        self._router = router
        self._metrics = metrics
        self._watch = watch
        self._upstream = upstream
        self._journal = journal
        self._shedding = shedding
        self._places = places
        self.app = Starlette(
            routes=[Route("/metrics.json", self._counters), Route("/table.json", self._table)]
        )

    async def _counters(self, _: Request) -> Response:
        return _json(self._metrics.document(self._router, self._gauges(), self._counts()))

    async def _table(self, _: Request) -> Response:
        table = self._watch.table
        routes = {name: msgspec.to_builtins(entry.route) for name, entry in table.entries.items()}
        return _json({"revision": table.revision, "fresh": self._watch.fresh, "routes": routes})

    def _gauges(self) -> list[Any]:
        watch, labels = self._watch, ["model", "version"]
        routes = [entry.route for entry in watch.table.entries.values()]
        lanes, passed = self._upstream.gauges(), self._upstream.doors.gauges()
        return [
            [
                "pointsman_route_epoch",
                "Epoch of the route, by its active version.",
                labels,
                [[[route.model, route.active or ""], route.epoch] for route in routes],
            ],
            [
                "pointsman_queue_requests",
                "Requests waiting for a replica.",
                labels,
                [[[model, version], waiting] for model, version, waiting, _, _ in lanes],
            ],
            [
                "pointsman_replicas_busy",
                "Replicas with an exchange under way.",
                labels,
                [[[model, version], busy] for model, version, _, busy, _ in lanes],
            ],
            [
                "pointsman_replicas_out",
                "Replicas out of turn.",
                labels,
                [[[model, version], out] for model, version, _, _, out in lanes],
            ],
            [
                "pointsman_pass_exchanges",
                "Pass-through exchanges and tunnels under way.",
                labels,
                [[list(key), busy] for key, (busy, _, _) in passed.items()],
            ],
            [
                "pointsman_pass_window",
                "Pass-through exchanges that the replicas bear at once, as learned.",
                labels,
                [[list(key), size] for key, (_, size, _) in passed.items()],
            ],
            _single("pointsman_router_revision", "Revision of the routing table.", watch.table.revision),
            _single("pointsman_router_fresh", "1: the table is confirmed.", int(watch.fresh)),
            _single(
                "pointsman_router_revision_regressed",
                "1: Redis shows an older revision than before.",
                int(watch.regressed),
            ),
            _single(
                "pointsman_router_routes_lost",
                "Models whose route Redis has lost, or has in an older form than this router.",
                watch.routes_lost,
            ),
            _single(
                "pointsman_router_acknowledged",
                "1: Redis took the router's last acknowledgement.",
                int(watch.acknowledged),
            ),
            _single("pointsman_connections", "Callers' connections that are open.", self._places.open),
            _single("pointsman_router_draining", "1: the router is on its way out.", int(watch.draining)),
            _single(
                "pointsman_log_unavailable",
                "1: the last append to the journal failed.",
                int(self._journal.trouble is not None),
            ),
            _single(
                "pointsman_loop_lag_seconds", "Mean lateness of the router's loop.", self._shedding.lag.mean
            ),
            _single(
                "pointsman_loop_lag_peak_seconds",
                "Latest wake-up of the router's loop in the last second.",
                self._shedding.lag.peak(monotonic()),
            ),
        ]

    def _counts(self) -> list[Any]:
        return [
            _single("pointsman_log_appended_total", "Records written.", self._journal.appended),
            _single("pointsman_log_dropped_total", "Records not written.", self._journal.dropped),
            [
                "pointsman_connections_refused_total",
                "Connections refused for their number, by limit.",
                ["limit"],
                [[[limit], number] for limit, number in self._places.refused.items()],
            ],
            *self._lane_counts(),
        ]

    def _lane_counts(self) -> list[Any]:
        labels = ["model", "version"]
        ejected, repeated, refused, shed = [], [], [], []
        for name, tally in self._upstream.tallies.items():
            ejected += [[[*name, why], number] for why, number in tally.ejections.items()]
            repeated += [[[*name, "retry"], tally.retried], [[*name, "hedge"], tally.hedged]]
            refused.append([list(name), tally.refused])
            shed += [[[*name, "queue"], tally.shed], [[*name, "deadline"], tally.late]]
            shed.append([[*name, "window"], tally.crowded])
        shed += [[[model, "", "lag"], number] for model, number in self._shedding.shed.items()]
        return [
            ["pointsman_replica_ejections_total", "Replicas put out of turn.", [*labels, "reason"], ejected],
            ["pointsman_repeated_requests_total", "Requests sent again.", [*labels, "kind"], repeated],
            ["pointsman_repeats_refused_total", "Repetitions the budget refused.", labels, refused],
            ["pointsman_shed_requests_total", "Requests refused for load.", [*labels, "reason"], shed],
        ]


def _single(name: str, text: str, value: float) -> list[Any]:
    return [name, text, [], [[[], value]]]


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
