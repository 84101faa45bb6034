"""The bounds and rules of the lanes, as the settings give them; values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from router.settings import Settings
from router.upstream.batch import BatchLimits
from router.upstream.budget import BudgetRules
from router.upstream.health import HealthRules
from router.upstream.hedge import HedgeRules


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Bounds of one lane: waiting requests, waiting bytes, and those of a batch; and its rules of judgement.

    `hedge` None: no second replica is ever asked. `standing_wait_s`: longest wait in a queue that stands.
    """

    requests: int
    size: int
    batch: BatchLimits
    health: HealthRules = field(default_factory=HealthRules)
    budget: BudgetRules = field(default_factory=BudgetRules)
    hedge: HedgeRules | None = field(default_factory=HedgeRules)
    standing_wait_s: float = 5.0
    pass_most: int = 1024  # exchanges of the pass-through lane at once with one replica


def lane_limits(settings: Settings) -> LaneLimits:
    """Those of a router."""
    longest = max(settings.eject_longest_ms, settings.eject_ms)
    return LaneLimits(
        settings.queue_requests,
        settings.queue_bytes,
        BatchLimits(settings.batch_rows, settings.batch_bytes),
        HealthRules(
            errors=settings.eject_errors,
            first_s=settings.eject_ms / 1e3,
            longest_s=longest / 1e3,
            ramp_s=settings.ramp_ms / 1e3,
        ),
        BudgetRules(ratio=settings.retry_ratio, floor=settings.retry_floor),
        HedgeRules(least_s=settings.hedge_ms / 1e3) if settings.hedge_ms else None,
        settings.queue_wait_ms / 1e3,
        settings.pass_concurrency,
    )
