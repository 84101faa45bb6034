"""The program that runs every guarantee: what it runs, how it ends what hangs, what it keeps and writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from loadtests import chaos
from loadtests.chaos import BEGIN, END, GUARANTEES, Outcome, Row
from loadtests.fleet import wait_for
from loadtests.guarantees import PROOFS

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def outcome(proof: str, result: str = "holds", *, small: bool = False) -> Outcome:
    """One that took a second."""
    return Outcome(proof, result, 1.0, {"failed": 0}, small, "2026-11-24")


def test_every_proof_stands_in_one_row_and_all_have_time() -> None:
    every = [row.proof for row in chaos.rows(())]
    assert sorted(every) == sorted(PROOFS)
    assert all(group for group in GUARANTEES.values())
    assert [row.proof for row in chaos.rows(("splits", "flips"))] == ["flips", "splits"]


def test_what_ignores_its_interruption_is_killed_with_all_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos, "GRACE_S", 0.2)
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    chaos.end(process)
    assert process.returncode == -9
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)
    process.stdout.close()


def test_one_that_runs_out_of_time_is_named(tmp_path: Path) -> None:
    """An interpreter alone takes longer than that."""
    found = chaos.run(Row("splits", 60), small=True, longest_s=0.05)
    assert (found.proof, found.result, found.small) == ("splits", "ran out", True)


class Runs:
    """In the place of `run`; `results` by proof."""

    def __init__(self, **results: str) -> None:
        self.results = {name.replace("_", "-"): result for name, result in results.items()}
        self.ran: list[tuple[str, float]] = []

    def __call__(self, row: Row, *, small: bool, longest_s: float) -> Outcome:
        self.ran.append((row.proof, longest_s))
        return outcome(row.proof, self.results.get(row.proof, "holds"), small=small)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "proofs.md"
    made.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(chaos, "PAGE", made)
    return made


def invoke(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str) -> tuple[int, str]:
    monkeypatch.setattr(chaos, "run", runs)
    done = CliRunner().invoke(chaos.main, [*words, "--kept", str(tmp_path / "kept" / "chaos.json")])
    return done.exit_code, done.output


def test_figures_are_written_between_the_marks_and_kept(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke(Runs(), monkeypatch, tmp_path, "splits", "flips")[0] == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| guarantee |")
    assert text.endswith(f"{END}\nafter\n")
    assert "| `flips` | holds, 1 s, 2026-11-24 | failed: 0 |" in text
    assert "| `overload` | not run |" in text
    assert invoke(Runs(), monkeypatch, tmp_path, "overload")[0] == 0
    assert page.read_text().count("holds") == 3, "what ran before is kept"


def test_a_small_run_leaves_the_document(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = page.read_text()
    assert invoke(Runs(), monkeypatch, tmp_path, "splits", "--small")[0] == 0
    assert page.read_text() == before
    runs = Runs()
    invoke(runs, monkeypatch, tmp_path, "splits", "--resume")
    assert runs.ran, "a small one does not stand for a full one"


def test_a_failure_is_told_and_repeated_by_resume(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = invoke(Runs(splits="ran out"), monkeypatch, tmp_path, "flips", "splits")
    assert code == 1
    assert "splits: ran out after 1 s" in told
    assert "| `splits` | ran out" in page.read_text()
    runs = Runs()
    assert invoke(runs, monkeypatch, tmp_path, "flips", "splits", "--resume")[0] == 0
    assert [name for name, _ in runs.ran] == ["splits"]


def test_the_time_for_all_is_bounded_and_the_row_that_ran_out_named(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    code, told = invoke(runs, monkeypatch, tmp_path, "flips", "splits", "--budget", "0")
    assert (code, runs.ran) == (1, [])
    assert "flips: the 0 s for all were over" in told
    assert invoke(runs, monkeypatch, tmp_path, "flips", "--budget", "5")[0] == 0
    assert runs.ran[0][1] <= 5


def test_a_document_without_its_place_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        chaos.page("nothing", {})
