"""One installation for the protocol tests: digits 1 and 2 deployed, 1 active, 3 only registered."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from bentos.build import HERE, build, recipes
from loadtests.fleet import Fleet


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Started once; tests that change what is deployed leave 1 and 2 deployed and 1 active."""
    made = Fleet()
    try:
        made.start()
        made.release("digits", "1", "2")
        (recipe,) = recipes(("digits/3",))
        built = HERE / "build" / "digits" / "3"
        build(recipe, built)
        words = ["--manifest", str(built / "manifest.yaml"), "--model", "digits", "--version", "3"]
        done = made.cli("register", str(built / "model.onnx"), *words)
        assert done.returncode == 0, done.stderr
        assert made.promote("digits", "1")["status"] == 200
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def key(fleet: Fleet) -> dict[str, str]:
    """The header that may load and unload."""
    return {"Authorization": f"Bearer {(fleet.data_dir / 'admin.key').read_text()}"}


@pytest.fixture
def http(fleet: Fleet) -> Iterator[httpx.Client]:
    """The data listener. It asks for no coding, so that a test sees what it asks for itself."""
    with httpx.Client(
        base_url=fleet.data, timeout=40, trust_env=False, headers={"accept-encoding": "identity"}
    ) as client:
        yield client
