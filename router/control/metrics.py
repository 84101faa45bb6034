"""The metrics of the whole installation as Prometheus text: all routers of this host, and control's own."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from router.agent.losses import FILE as LOSSES
from router.catalog.review import overdue
from router.control.away import answering
from router.control.body import only
from router.control.plane import Plane, plane_of
from router.control.processes import PROCESSES, SHIPPER, noted
from router.control.scrape import Counters, scrape
from router.documents import RouterLease
from router.errors import Unavailable
from router.quarantine import items

Gauge = tuple[str, str, float]

REDIS_S = 1.0
SHIPPED = (
    ("lag_bytes", "pointsman_shipper_lag_bytes", "Log bytes written and not yet shipped."),
    ("shipped_bytes", "pointsman_shipper_shipped_bytes", "Log bytes shipped since the shipper started."),
    ("kept_bytes", "pointsman_log_kept_bytes", "Bytes of the local log."),
    ("limit_bytes", "pointsman_log_limit_bytes", "Bound of the local log."),
    (
        "unread_trimmed",
        "pointsman_log_unread_trimmed",
        "Stream entries trimmed before a group read them.",
    ),
    ("corrupt_bytes", "pointsman_log_corrupt_bytes", "Bytes of broken lines found in the local log."),
)

log = structlog.get_logger()


async def metrics(request: Request) -> Response:
    """Prometheus text, label `router` on what routers count. Answers also while Redis is away."""
    plane = plane_of(request)
    only(request)
    own, known = await _own(plane)
    found = await scrape(plane.runtime_dir, known)
    registry = CollectorRegistry()
    lost = loss_family(noted(plane.runtime_dir, LOSSES).get("losses", ()))
    alive = any(name == "pointsman_redis_up" and value for name, _, value in own)
    reviews = await _review_family(plane, alive)
    registry.register(_Once([*own_families(own), lost, reviews, *router_families(found)]))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _own(plane: Plane) -> tuple[list[Gauge], list[str]]:
    """Control's own gauges, and the routers that this host should have."""
    routers = set(known_routers(plane))
    own: list[Gauge] = []
    try:
        async with answering(REDIS_S):
            highest = plane.registry.highest  # before the question: see `pointsman_registry_behind`
            revision, now, leases = await plane.registry.standing()
            memory = await plane.registry.server("memory")
    except Unavailable:
        own.append(("pointsman_redis_up", "1: Redis answers.", 0))
    else:
        lapsed = sum(lease.lapsed(now) for lease in leases)
        own += [
            ("pointsman_redis_up", "1: Redis answers.", 1),
            ("pointsman_revision", "Stored revision of the control state.", revision),
            (
                "pointsman_registry_behind",
                "Revisions by which Redis is behind what routers and this process have seen.",
                max(0, max([highest, *(lease.highest for lease in leases)]) - revision),
            ),
            ("pointsman_redis_memory_bytes", "Memory that Redis uses.", float(memory["used_memory"])),
            ("pointsman_redis_memory_limit_bytes", "Its bound; 0: none.", float(memory["maxmemory"])),
            ("pointsman_routers_known", "Routers that changes wait for or name.", len(leases)),
            ("pointsman_routers_unknown", "Known routers whose lease has lapsed.", lapsed),
        ]
        routers |= {lease.id for lease in leases if _is_here(plane, lease)}
    own.append(
        (
            "pointsman_changes_unreplicated",
            "Changes since the start that no replica of Redis confirmed in time.",
            plane.registry.unreplicated,
        )
    )
    aside = items(plane.settings.data_dir)
    own.append(("pointsman_quarantined_files", "Broken files that were put aside.", len(aside)))
    shipper = noted(plane.runtime_dir, SHIPPER)
    own += [(name, text, float(shipper[key])) for key, name, text in SHIPPED if key in shipper]
    return own, sorted(routers)


def known_routers(plane: Plane) -> list[str]:
    """The routers that `up` of this host has started."""
    return [router["id"] for router in noted(plane.runtime_dir, PROCESSES).get("routers", ())]


async def _review_family(plane: Plane, alive: bool) -> Metric:
    """Whether models are overdue for review, of those that have an interval; nothing while Redis is away."""
    family = GaugeMetricFamily(
        "pointsman_review_overdue", "1: the model's review is overdue.", labels=["model"]
    )
    try:
        if alive:
            await plane.catalog.fresh(REDIS_S)
    except Unavailable:
        alive = False
    if not alive:
        return family
    now = time.time()
    for model, shelf in sorted(plane.catalog.shelves.items()):
        due = shelf.due()
        if due is not None:
            family.add_metric([model], float(overdue(due, now)))
    return family


def _is_here(plane: Plane, lease: RouterLease) -> bool:
    """Another host's routers are told of by that host's own control process."""
    return not plane.node or lease.node == plane.node


def own_families(gauges: Iterable[Gauge]) -> list[Metric]:
    """Gauges without labels."""
    return [GaugeMetricFamily(name, text, value=value) for name, text, value in gauges]


def loss_family(rows: Iterable[tuple[str, str, str, int]]) -> Metric:
    """What the agent counts: replicas that failed to load, ended unasked, or had to be replaced."""
    labels = ["model", "version", "reason"]
    family = CounterMetricFamily("pointsman_replicas_lost_total", "Replicas lost, by reason.", labels=labels)
    for model, version, reason, number in rows:
        family.add_metric([model, version, reason], number)
    return family


def router_families(found: dict[str, Counters | None]) -> list[Metric]:
    """What routers count, merged by family with a label `router`, and which of them answered."""
    up = GaugeMetricFamily("pointsman_router_up", "1: the router told its counters.", labels=["router"])
    families = _Families()
    for router, counters in found.items():
        up.add_metric([router], 0 if counters is None else 1)
        if counters is not None:
            families.add(router, counters)
    return [up, *families.all()]


class _Families:
    """Families under construction. One name has one form: a router that disagrees is left out, and logged."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[tuple[str, tuple[str, ...]], Any]] = {}

    def all(self) -> list[Metric]:
        """Everything that was added."""
        return [family for _, family in self._found.values()]

    def add(self, router: str, counters: Counters) -> None:
        """One router's document."""
        for kind, wanted in ((CounterMetricFamily, counters.counters), (GaugeMetricFamily, counters.gauges)):
            for name, text, labels, series in wanted:
                family = self._family(kind, name, text, labels, router)
                for values, number in series if family is not None else ():
                    family.add_metric([*values, router], number)
        for name, text, labels, bounds, counted in counters.histograms:
            family = self._family(HistogramMetricFamily, name, text, labels, router)
            edges = [*map(floatToGoString, bounds), "+Inf"]
            for values, counts, total in counted if family is not None else ():
                buckets = list(zip(edges, accumulate(counts), strict=True))
                family.add_metric([*values, router], buckets, total)

    def _family(self, kind: Any, name: str, text: str, labels: list[str], router: str) -> Any:
        form = (kind.__name__, tuple(labels))
        if name not in self._found:
            self._found[name] = (form, kind(name, text, labels=[*labels, "router"]))
        known, family = self._found[name]
        if known != form:
            log.warning("metric_disagrees", metric=name, router=router)
            return None
        return family


class _Once(Collector):
    """Gives families that were made already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._families


PATHS = [Path("/metrics", metrics)]
