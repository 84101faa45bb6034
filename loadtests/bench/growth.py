"""The memory of the routers over many requests at 64 connections, with all of the gateway on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from loadtests.bench import wrk
from loadtests.bench.account import Account
from loadtests.bench.bodies import V1
from loadtests.bench.checking import check
from loadtests.bench.contender import Contender
from loadtests.bench.run import Told
from loadtests.bench.tree import MIB, Look, look
from loadtests.bench.workshop import GATEWAY_MODEL, V1_PATH, Workshop, gateway

CONNECTIONS: Final = 64
WARM_UP: Final = 20
"""Of so many parts of the requests, one more goes before: 50,000 before 1,000,000."""

PARTS: Final = 20
FEWEST: Final = 4
SLOWEST: Final = 200.0
"""Requests a second below which it gives up."""

HEAD: Final = (
    "requests",
    "each router MiB",
    "redis MiB",
    "shipper MiB",
    "replica MiB",
    "agent MiB",
    "control MiB",
)


class Replaced(AssertionError):
    """A router ended during the load: the memory of another one says nothing about its growth."""


@dataclass(frozen=True, slots=True)
class Point:
    """After so many requests."""

    requests: int
    look: Look

    @property
    def routers(self) -> dict[int, int]:
        """Resident bytes by pid."""
        return self.look.of("router")


def growth(shop: Workshop, stack: ExitStack, requests: int, told: Told) -> Account:
    """So many requests by wrk; raises Wrong, Unclean, Replaced, TimeoutError."""
    made = shop.installation(stack)
    made.serve(GATEWAY_MODEL, shop.gradient_boosting)
    bodies = shop.bodies(V1, shop.rows(1))
    contender = gateway(made, "v1", "gateway, v1", V1_PATH, bodies)
    check(contender)
    points = sampled(contender, requests, told)
    settle_s = made.settled()
    first, half, last = start_middle_end(points)
    note = (
        f"After {requests // WARM_UP:,} requests of warm-up; with 1 row of v1 JSON and log with payload at"
        f" {CONNECTIONS} connections; between two loads, no request in flight. The shipper was done"
        f" {settle_s:.1f} s after the last."
    )
    figures = {
        "largest_mib": max(max(point.routers.values()) for point in points) / MIB,
        "second_half_mib": grown(half, last),
        "whole_mib": grown(first, last),
        "requests": last.requests - first.requests,
    }
    cells = tuple(_cells(point) for point in (first, half, last))
    return Account(
        "growth", "Memory of the routers over many requests", HEAD, cells, figures, made.command, (note,)
    )


def sampled(contender: Contender, requests: int, told: Told) -> list[Point]:
    """Loads until `requests` were answered, after a warm-up; the first point is from behind the warm-up."""
    deadline = time.monotonic() + 120 + requests / SLOWEST
    warm, rate = 0, 1.0
    while warm < requests / WARM_UP:
        report = wrk.load(contender, CONNECTIONS, 1 if warm == 0 else 2)
        warm += report.requests
        rate = report.requests / report.duration_us * 1e6
    seconds = min(10.0, max(1.0, requests / PARTS / rate))
    points = [Point(0, look(contender.roots))]
    while points[-1].requests < requests or len(points) <= FEWEST:
        if time.monotonic() > deadline:
            raise TimeoutError(f"growth: {points[-1].requests:,} of {requests:,} requests until the deadline")
        done = points[-1].requests + wrk.load(contender, CONNECTIONS, seconds).requests
        point = Point(done, look(contender.roots))
        if point.routers.keys() != points[0].routers.keys():
            raise Replaced(f"routers {sorted(points[0].routers)} became {sorted(point.routers)}")
        points.append(point)
        told(f"growth: {done:,} of {requests:,} requests, routers {_each(point)} MiB")
    return points


def start_middle_end(points: Sequence[Point]) -> tuple[Point, Point, Point]:
    """The first, the one nearest to half of the requests, the last."""
    half = points[-1].requests / 2
    return points[0], min(points[1:-1], key=lambda point: abs(point.requests - half)), points[-1]


def grown(before: Point, after: Point) -> float:
    """MiB of the router that grew most; below 0 where all shrank."""
    return max(after.routers[pid] - size for pid, size in before.routers.items()) / MIB


def _each(point: Point) -> str:
    return ", ".join(f"{size / MIB:.1f}" for _, size in sorted(point.routers.items()))


def _cells(point: Point) -> tuple[str, ...]:
    groups = point.look.memory()
    others = (groups.get(name, 0) / MIB for name in ("redis", "shipper", "replica", "agent", "control"))
    return (f"{point.requests:,}", _each(point), *(f"{size:.0f}" for size in others))
