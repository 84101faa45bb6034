"""Scenario flip: two versions are promoted in turn under load. See README.md for what to look for."""

from __future__ import annotations

from typing import Any, Final

from loadtests.locust import tally
from loadtests.locust.digits import DigitsUser
from loadtests.locust.flipper import FlippingUser
from loadtests.locust.ledger import Flips

FLIPS: Final = Flips()


class Caller(DigitsUser):
    """No answer may be of an older route than the last flip that was confirmed when it was sent."""

    def before(self, number: int) -> tuple[int, dict[str, str]]:
        """Notes the last confirmed epoch."""
        return FLIPS.epoch, {}

    def fault(self, noted: Any, headers: Any) -> str | None:
        """An old version after the 200."""
        return FLIPS.fault(noted, headers)


class Flipper(FlippingUser):
    """Flips digits five times a second."""

    model = "digits"
    flips = FLIPS


@tally.check("every answer is of the version its epoch names")
def _strangers() -> tuple[str, bool]:
    strangers = FLIPS.strangers()
    return "; ".join(strangers[:3]) or f"{len(FLIPS.routes)} flips", not strangers and len(FLIPS.routes) > 1
