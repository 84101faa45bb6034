"""A model store of the tests' own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BENTOML_HOME for the processes of this run."""
    return tmp_path_factory.mktemp("bentoml")
