"""`make chaos`: every guarantee by its proofs, one after another within 45 minutes, as a table in the docs.

Each proof is a process of its own, so that one that hangs can be ended, with all that it started, and named. It
decides nothing itself: what holds is asserted by the proofs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
import psutil

from loadtests.guarantees import PROOFS
from loadtests.proofs.figures import Figures

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "proofs.md"
KEPT = ROOT / ".pointsman" / "chaos.json"
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
BUDGET_S = 45 * 60.0
GRACE_S = 60.0  # for a proof that is interrupted to end what it started
SHORT_S = 240.0


@dataclass(frozen=True, slots=True)
class Row:
    """A proof of a guarantee, and the longest it may take at full size, in seconds."""

    proof: str
    longest_s: float


GUARANTEES: dict[str, tuple[Row, ...]] = {
    "Serves on when the control plane is gone": (
        Row("redis-stopped", 180),
        Row("redis-killed", 180),
        Row("redis-dead-start", 90),
        Row("agent-killed", 150),
    ),
    "Flips are ordered and none is lost": (
        Row("flips", 180),
        Row("flips-deaf", 150),
        Row("paused-router", 90),
        Row("splits", 120),
    ),
    "Never without a version, and never an older route": (Row("redis-fallen-back", 120),),
    "A bad replica is out of turn": (Row("hung-replica", 150),),
    "No retry storm": (Row("retry-storm", 150),),
    "Goodput under overload": (Row("overload", 210),),
    "Drain and restart": (
        Row("router-drain", 120),
        Row("rolling-restarts", 180),
        Row("two-hosts", 300),
        Row("new-connections", 180),
        Row("killed-parent", 90),
    ),
    "A replica dies": (
        Row("replica-killed", 150),
        Row("passed-replica-killed", 150),
        Row("sole-replica-killed", 150),
    ),
    "Redis fails over": (Row("redis-fail-over", 240), Row("redis-cluster", 150)),
    "Every answered request is logged once": (
        Row("killed-routers", 150),
        Row("random-kills", 180),
        Row("disk-full-refuse", 150),
        Row("disk-full-serve", 150),
        Row("redis-away-long", 420),
    ),
    "Hostile input": (Row("hostile-bytes", 400), Row("slow-sockets", 400)),
    "A revoked key lets nobody in": (Row("revoked-key", 120),),
    "Nothing leaks": (Row("cancels", 180),),
    "Fair shares": (Row("fair-shares", 240),),
}
"""Every row of the table of guarantees; each proof stands in one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a proof ended: `holds`, `FAILED`, `skipped` or `ran out`."""

    proof: str
    result: str
    seconds: float
    figures: Figures
    small: bool
    at: str


def rows(names: tuple[str, ...]) -> list[Row]:
    """Those of these proofs, or all, in the order of the table."""
    every = [row for group in GUARANTEES.values() for row in group]
    return [row for row in every if not names or row.proof in names]


def run(row: Row, *, small: bool, longest_s: float) -> Outcome:
    """One proof in a process of its own; after `longest_s` it is interrupted, then ended with all below it."""
    began, at = time.monotonic(), time.strftime("%Y-%m-%d", time.gmtime())
    with tempfile.TemporaryDirectory(prefix="pm-chaos-") as folder:
        told_to = Path(folder) / "told.json"
        words = [sys.executable, "-m", "loadtests.prove", row.proof, "--json", str(told_to)]
        process = subprocess.Popen(
            words + ["--small"] * small, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(longest_s)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            end(process)
        seconds = round(time.monotonic() - began, 1)
        if late:
            return Outcome(row.proof, "ran out", seconds, {"of s": round(longest_s)}, small, at)
        if not told_to.exists():
            return Outcome(row.proof, "FAILED", seconds, {"exit status": process.returncode}, small, at)
        told = msgspec.json.decode(told_to.read_bytes())[row.proof]
        return Outcome(row.proof, told["result"], seconds, told["figures"], small, at)


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupts it, so that it cleans up; what does not end in time is killed with all below it."""
    if process.poll() is not None:
        return
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        below += psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    for child in below:
        if child.is_running():  # not another process that has its number now
            child.kill()


# -- what is kept ------------------------------------------------------------------------------------------


def load(path: Path) -> dict[str, Outcome]:
    """The last outcome of each proof."""
    if not path.exists():
        return {}
    return {each.proof: each for each in msgspec.json.decode(path.read_bytes(), type=list[Outcome])}


def save(path: Path, outcomes: dict[str, Outcome]) -> None:
    """Written anew after each proof: an interrupted run goes on where it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(list(outcomes.values())))
    os.replace(new, path)


def page(text: str, outcomes: dict[str, Outcome]) -> str:
    """The document with the table in its place. Raises ValueError where it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end_mark, after = rest.partition(END)
    if not begin or not end_mark:
        raise ValueError(f"{PAGE.name} has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table(outcomes)}{END}{after}"


def table(outcomes: dict[str, Outcome]) -> str:
    """One line a proof, by guarantee."""
    lines = ["| guarantee | proof | result | figures |", "|---|---|---|---|"]
    for guarantee, group in GUARANTEES.items():
        for row in group:
            found = outcomes.get(row.proof)
            if found is None:
                lines.append(f"| {guarantee} | `{row.proof}` | not run | |")
                continue
            told = ", ".join(f"{key}: {value}" for key, value in found.figures.items()).replace("|", "\\|")
            how = f"{found.result}, {found.seconds:.0f} s, {found.at}" + (", small" if found.small else "")
            lines.append(f"| {guarantee} | `{row.proof}` | {how} | {told} |")
    return "\n".join(lines) + "\n"


# -- the program -------------------------------------------------------------------------------------------


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(PROOFS)))
@click.option("--small", is_flag=True, help="The size CI runs; the document stays as it is.")
@click.option("--resume", is_flag=True, help="Leave out what held the last time at this size.")
@click.option("--budget", default=BUDGET_S, show_default=True, type=float, help="Seconds for all of them.")
@click.option("--kept", type=click.Path(path_type=Path), default=KEPT, help="Where outcomes are kept.")
@click.option("--write/--no-write", default=True, help="Write the table into docs/proofs.md.")
def main(names: tuple[str, ...], small: bool, resume: bool, budget: float, kept: Path, write: bool) -> None:
    """Run NAMES, or every guarantee. Exit status 1 when one does not hold, or time runs out."""
    outcomes, began, bad = load(kept), time.monotonic(), []
    for number, row in enumerate(chosen := rows(names), 1):
        last = outcomes.get(row.proof)
        if resume and last is not None and last.small == small and last.result in ("holds", "skipped"):
            tell(f"{number}/{len(chosen)} {row.proof}: {last.result} on {last.at}, left out")
            continue
        left = budget - (time.monotonic() - began)
        if left <= 0:
            bad.append(f"{row.proof}: the {budget:.0f} s for all were over before its turn")
            break
        tell(f"{number}/{len(chosen)} {row.proof} … (at most {min(row.longest_s, left):.0f} s)")
        outcome = run(row, small=small, longest_s=min(SHORT_S if small else row.longest_s, left))
        outcomes[row.proof] = outcome
        save(kept, outcomes)
        tell(
            f"{number}/{len(chosen)} {row.proof}: {outcome.result} in {outcome.seconds:.0f} s {outcome.figures}"
        )
        if outcome.result not in ("holds", "skipped"):
            bad.append(f"{row.proof}: {outcome.result} after {outcome.seconds:.0f} s")
        if write and not small:
            PAGE.write_text(page(PAGE.read_text(), outcomes))
    tell(f"{time.monotonic() - began:.0f} s in all; " + ("; ".join(bad) or "every guarantee holds"))
    sys.exit(bool(bad))


def tell(text: str) -> None:
    """Progress."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
