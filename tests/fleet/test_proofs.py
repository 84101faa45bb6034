"""Each proof of `make prove`, at the size CI runs; a proof asserts by itself and gives its figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loadtests.guarantees import PROOFS
from loadtests.proofs.figures import Skipped


@pytest.mark.fleet
@pytest.mark.parametrize("name", sorted(PROOFS))
def test_a_guarantee_holds(name: str, record_property: Callable[[str, object], None]) -> None:
    try:
        figures = PROOFS[name](True)
    except Skipped as why:
        pytest.skip(str(why))
    assert figures, "a proof that measured nothing proves nothing"
    for what, figure in figures.items():
        record_property(what, figure)
