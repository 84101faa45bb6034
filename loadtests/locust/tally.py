"""Counts a scenario's answers by request and version and writes them as JSON when locust ends; prints nothing."""

from __future__ import annotations

import json
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import gevent  # type: ignore[import-untyped]
from locust import events
from locust.env import Environment

REPORT: Final = "POINTSMAN_LOAD_REPORT"  # the file to write to; nothing is written without it


@dataclass(slots=True)
class Count:
    """The answers to one kind of request by one version."""

    failures: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    took_ms: array[float] = field(default_factory=lambda: array("d"))

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.took_ms)
        return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2)


Check = Callable[[], tuple[str, bool]]
_counts: Final[dict[tuple[str, str], Count]] = {}
_checks: Final[dict[str, Check]] = {}
_times: Final = {"start": 0.0, "stop": 0.0}


def check(name: str) -> Callable[[Check], Check]:
    """Declares what must hold at a scenario's end: the function gives the figures and whether it does."""

    def declared(function: Check) -> Check:
        _checks[name] = function
        return function

    return declared


@events.init.add_listener  # type: ignore[untyped-decorator]
def _ready(**_: object) -> None:
    # gevent's clock stood still while the scenario was imported: locust would count that as running time.
    gevent.get_hub().loop.update_now()


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _started(**_: object) -> None:
    _times["start"] = time.monotonic()


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def _stopped(**_: object) -> None:
    _times["stop"] = time.monotonic()


@events.request.add_listener  # type: ignore[untyped-decorator]
def _seen(name: str, response_time: float, response: Any, exception: object, **_: object) -> None:
    headers = getattr(response, "headers", None) or {}
    count = _counts.setdefault((name, headers.get("x-model-version", "")), Count())
    count.took_ms.append(response_time)
    if exception:
        count.failures += 1
        count.errors[str(exception)[:200]] += 1


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _report(environment: Environment, **_: object) -> None:
    checks = [(name, *function()) for name, function in _checks.items()]
    if not all(holds for _, _, holds in checks):
        environment.process_exit_code = 1
    if not (path := os.environ.get(REPORT)):
        return
    requests = [
        {
            "name": name,
            "version": version,
            "requests": len(count.took_ms),
            "failures": count.failures,
            "p50_ms": count.percentile(0.5),
            "p99_ms": count.percentile(0.99),
            "errors": dict(count.errors.most_common(5)),
        }
        for (name, version), count in sorted(_counts.items())
    ]
    seconds = round(_times["stop"] - _times["start"], 2)
    told = [{"name": name, "figures": figures, "holds": holds} for name, figures, holds in checks]
    Path(path).write_text(json.dumps({"seconds": seconds, "requests": requests, "checks": told}))
