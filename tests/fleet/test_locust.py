"""The load scenarios: the steady one for three seconds as `make load` runs it, and what the others judge by."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.locust.ledger import Flips, Stickiness, tolerance

ROOT = Path(__file__).parents[2]


@pytest.mark.fleet
def test_steady_runs_and_counts_by_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.locust", "steady", "--seconds", "3", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(done.stdout)
    assert (outcome["scenario"], outcome["failed"], outcome["error"]) == ("steady", False, "")
    assert outcome["seconds"] >= 2.5
    (row,) = outcome["requests"]
    assert (row["name"], row["version"], row["failures"]) == ("digits v1", "1", 0)
    assert row["requests"] >= 100
    assert 0 < row["p50_ms"] <= row["p99_ms"]


@pytest.mark.fleet
def test_streams_of_a_custom_service_hold_their_version_through_flips() -> None:
    """The example service in its own environment, built here, both versions of it."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.locust", "stream", "--seconds", "4", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(done.stdout)
    versions = {row["version"] for row in outcome["requests"] if row["name"] == "stream, whole"}
    assert versions == {"1", "2"}
    assert all(check["holds"] for check in outcome["checks"])


def answered(version: str, epoch: int, **more: str) -> dict[str, str]:
    return {"x-model-version": version, "x-route-epoch": str(epoch), **more}


def test_an_old_version_after_the_200_is_a_fault() -> None:
    flips = Flips()
    flips.applied(7, "2")
    assert flips.fault(flips.epoch, answered("2", 7)) is None
    assert flips.fault(flips.epoch, answered("1", 8)) is None  # a flip under way
    assert "version 1 of epoch 6" in (flips.fault(flips.epoch, answered("1", 6)) or "")
    assert flips.fault(0, answered("1", 6)) is None  # sent before the 200
    assert flips.fault(flips.epoch, answered("1", 6, **{"x-route-stale": "1"})) is None
    assert flips.fault(flips.epoch, {}) is not None


def test_an_epoch_answered_by_another_version_is_told_at_the_end() -> None:
    flips = Flips()
    assert flips.fault(0, answered("1", 9)) is None
    assert flips.strangers() == []
    flips.applied(9, "2")
    assert flips.strangers() == ["epoch 9 names version 2, answered by 1"]


def test_a_key_that_moves_is_a_fault() -> None:
    found = Stickiness()
    assert [found.fault("a", "1"), found.fault("b", "2"), found.fault("a", "1")] == [None, None, None]
    assert found.fault("a", "2") == "a moved from version 1 to 2"
    assert found.share("2") == 0.5
    assert tolerance(0.2, 400) == pytest.approx(0.08)
