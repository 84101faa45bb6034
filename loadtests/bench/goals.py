"""What the product must reach, computed from the outcomes of the sections that ran; decides nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadtests.bench.section import Outcome, p50, router_cpu, throughput

KEEPS_UP_S = 3.0
"""The shipper's state is told once a second; a settle time beyond this is a backlog."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_least` says in which direction `wanted` bounds `found`."""

    text: str
    wanted: float
    found: float
    unit: str
    at_least: bool

    @property
    def holds(self) -> bool:
        """Whether it was reached."""
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted


def goals(outcomes: dict[str, Outcome]) -> list[Goal]:
    """Those that the sections which ran say something about."""
    found: list[Goal] = []
    if (rows := outcomes.get("rows")) is not None:
        found += _rows(rows)
    if (contract := outcomes.get("contract")) is not None:
        ratio = contract.ratio(throughput, "behind", 64)
        found.append(Goal("a user's bento behind the gateway over itself, at 64", 10, ratio, "×", True))
    if (proxy := outcomes.get("proxy")) is not None:
        ratio = proxy.ratio(router_cpu, "pass", 16)
        found.append(Goal("router CPU a request, pass-through, over nginx's, at 16", 6, ratio, "×", False))
    if (log := outcomes.get("log")) is not None:
        lost = 1 - log.ratio(throughput, "full", 64)
        text = "throughput lost to the payload in the log (over the log without), at 64"
        found.append(Goal(text, 20, lost * 100, "%", False))
    return found


def _rows(rows: Outcome) -> Iterator[Goal]:
    for key in ("v1", "v2"):
        plain, fast = (rows.ratio(throughput, key, 64, over) for over in ("plain", "fast"))
        yield Goal(f"{key}: throughput at 64 over bentoml serve, defaults", 30, plain, "×", True)
        yield Goal(f"{key}: throughput at 64 over its fastest set-up", 8, fast, "×", True)
        yield Goal(f"{key}: p50 at 1 over bentoml serve's", 0.3, rows.ratio(p50, key, 1), "×", False)
        yield Goal(f"{key}: p99 at 64", 16, rows.middle(key, 64).p99_ms, "ms", False)
    samples = [sample for (key, _), taken in rows.samples.items() if key in ("v1", "v2") for sample in taken]
    memory = max(sample.rss_mib.get("router", 0.0) for sample in samples)
    yield Goal("memory of the routers at the end", 120, memory, "MiB", False)
    settle = max(sample.settle_s for sample in samples)
    yield Goal("longest wait for the shipper after a load", KEEPS_UP_S, settle, "s", False)
