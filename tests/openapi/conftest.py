"""One installation for the fuzzing of both listeners and what must hold of its files afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadtests.fleet import Fleet
from tests.openapi.installation import started


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """digits 1 and 2 deployed, 1 active; spare 1 registered and nothing more."""
    with started() as made:
        yield made
