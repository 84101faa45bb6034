"""Asks the routers of this host for their counters over their own sockets; it renders nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import msgspec
import structlog

LIMIT_S = 0.5
TOGETHER = 64

Labelled = tuple[list[str], float]
Counted = tuple[list[str], list[int], float]

log = structlog.get_logger()


class Counters(msgspec.Struct, frozen=True):
    """A router's own document: families as (name, help, label names, …series).

    Histograms add their upper bounds; a series has the count of each bucket (not cumulative, the last one
    above all bounds) and the sum.
    """

    router: str
    counters: list[tuple[str, str, list[str], list[Labelled]]] = []
    gauges: list[tuple[str, str, list[str], list[Labelled]]] = []
    histograms: list[tuple[str, str, list[str], list[float], list[Counted]]] = []


async def scrape(runtime_dir: Path, routers: list[str]) -> dict[str, Counters | None]:
    """Every router's counters by its id; None for one that did not answer within half a second."""
    found: dict[str, Counters | None] = {}
    for start in range(0, len(routers), TOGETHER):
        group = routers[start : start + TOGETHER]
        answers = await asyncio.gather(*(_one(runtime_dir / f"{name}.sock") for name in group))
        found.update(zip(group, answers, strict=True))
    return found


async def _one(path: Path) -> Counters | None:
    try:
        async with (
            asyncio.timeout(LIMIT_S),
            httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), timeout=LIMIT_S) as client,
        ):
            answer = await client.get("http://router/metrics.json")
        return msgspec.json.decode(answer.raise_for_status().content, type=Counters)
    except (httpx.HTTPError, OSError, TimeoutError, msgspec.MsgspecError) as error:
        log.warning("router_not_scraped", socket=str(path), error=str(error) or type(error).__name__)
        return None
