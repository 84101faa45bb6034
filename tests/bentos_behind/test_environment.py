"""A bento whose dependency conflicts with the gateway's runs beside it, in an environment built once. Uses pip."""

from __future__ import annotations

import time
from importlib.metadata import version

import pytest

from loadtests.fleet import wait_for
from tests.bentos_behind.conftest import Behind
from tests.bentos_behind.sources import VERSION, folder_of

pytestmark = pytest.mark.fleet

OLDER = "3.10.18"


def test_a_dependency_that_conflicts_with_ours(behind: Behind) -> None:
    assert version("orjson") != OLDER
    folder = folder_of(behind.folder, "library", VERSION, (f"orjson=={OLDER}",))
    done = behind.fleet.cli("register", str(folder), "--model", "library")
    assert "an environment of its own" in done.stdout, done.stderr
    answer = behind.deploy("library", wait=200)
    assert answer.status_code == 200, answer.text + behind.fleet.tail()
    told = behind.direct("library", "/version", {})
    venvs = behind.fleet.data_dir / "venvs"
    assert told["orjson"] == OLDER
    assert told["prefix"].startswith(str(venvs))
    first = behind.replicas("library")[0]["id"]
    began = time.monotonic()
    assert behind.deploy("library", replicas=2, wait=60).status_code == 200
    assert time.monotonic() - began < 30  # the second replica reuses it
    wait_for(lambda: len({each["id"] for each in behind.replicas("library")} - {first}) == 1, 5)
    assert len([path for path in venvs.iterdir() if path.is_dir()]) == 1
