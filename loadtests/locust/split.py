"""Scenario split: sticky users over an 80/20 split. See README.md for what to look for."""

from __future__ import annotations

from typing import Any, Final

from locust import events

from loadtests.locust import control, tally
from loadtests.locust.digits import DigitsUser
from loadtests.locust.ledger import Stickiness, tolerance

KEYS: Final = 500
WEIGHTS: Final = {"1": 80, "2": 20}
FEWEST: Final = 100  # keys, below which a share says nothing

FOUND: Final = Stickiness()


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _split(**_: object) -> None:
    control.ask("POST", "/models/digits/promote", {"version": "1"})
    control.ask("POST", "/models/digits/split", {"weights": WEIGHTS})


class Sticky(DigitsUser):
    """Callers who name themselves: each must stay with its version."""

    def before(self, number: int) -> tuple[str, dict[str, str]]:
        """Takes the next of the sticky keys, round and round."""
        key = f"user-{number % KEYS}"
        return key, {"x-routing-key": key}

    def fault(self, noted: Any, headers: Any) -> str | None:
        """Another reason than `sticky`, or another version than before."""
        if (reason := headers.get("x-route-reason")) != "sticky":
            return f"routed by {reason}, not sticky"
        return FOUND.fault(noted, headers.get("x-model-version", ""))


@tally.check("the share of keys on version 2")
def _share() -> tuple[str, bool]:
    keys, wanted = len(FOUND.versions), WEIGHTS["2"] / 100
    if keys < FEWEST:
        return f"only {keys} keys: run it longer", False
    share, allowed = FOUND.share("2"), tolerance(wanted, keys)
    return f"{share:.3f} of {keys} keys, {wanted} ± {allowed:.3f} wanted", abs(share - wanted) <= allowed
