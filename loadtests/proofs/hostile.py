"""Hostile bytes: the suites that hold both listeners against them, as one row with a figure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from loadtests.proofs.figures import Figures

ROOT = Path(__file__).parents[2]
SMALL = ("tests/contract/test_framing.py",)
SUITES = (
    *SMALL,
    "tests/contract/test_wire.py",
    "tests/contract/test_limits.py",
    "tests/fuzz/test_corpus.py",
    "tests/openapi",
    "tests/registry/test_stateful.py",
)
LONGEST_S = 400


def suites(small: bool) -> Figures:
    """Raw bytes and their framing, limits, fuzzers' findings, the documents' schemas, changes in any order."""
    chosen = SMALL if small else SUITES
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    told = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-500:]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped)", told)}
    assert counts.get("passed", 0) > 0, told
    return {"suites": len(chosen), "tests": counts["passed"], "failed": counts.get("failed", 0)}
