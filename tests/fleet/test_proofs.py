"""Some proofs of `make chaos` at a small size; a proof asserts by itself and gives its figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loadtests.guarantees import PROOFS
from loadtests.proofs.figures import Skipped

SHORT = (
    "disk-full-refuse", "flips", "hung-replica", "killed-parent", "killed-routers", "new-connections",
    "paused-router", "redis-dead-start", "redis-stopped", "retry-storm", "revoked-key", "router-drain",
    "sole-replica-killed", "splits",
)  # fmt: skip
"""What CI has time for; `make chaos` runs all of them at full size."""


@pytest.mark.fleet
@pytest.mark.parametrize("name", SHORT)
def test_a_guarantee_holds(name: str, record_property: Callable[[str, object], None]) -> None:
    try:
        figures = PROOFS[name](True)
    except Skipped as why:
        pytest.skip(str(why))
    assert figures, "a proof that measured nothing proves nothing"
    for what, figure in figures.items():
        record_property(what, figure)
