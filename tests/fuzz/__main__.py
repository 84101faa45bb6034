"""Fuzzes every target, or some, for a bounded time each; prints what it finds, and how to see it again.

    python -m tests.fuzz --target tensors_v1 --seconds 60
    python -m tests.fuzz --target tensors_v1 --replay .pointsman/fuzz/tensors_v1/crash-…

What libFuzzer finds interesting is kept under `--out`, so that a later run goes on from there. The exit code is
the number of targets that showed a fault.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import CORPUS, LARGEST, TARGETS

ROOT = Path(__file__).parents[2]
SLACK = 60  # seconds beside the asked for: start, corpus, and the end


def options(name: str, seconds: int, out: Path) -> list[str]:
    """libFuzzer's: one process, bounded in time, memory and input; the first folder gets what is new."""
    grown, found = out / name / "corpus", out / name
    grown.mkdir(parents=True, exist_ok=True)
    committed = CORPUS / name
    return [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        "-timeout=30",  # of an endless loop; the engine counts CPU time
        "-rss_limit_mb=2048",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        "-verbosity=1",
        str(grown),
        *([str(committed)] if committed.is_dir() else []),
    ]


def fuzz(name: str, seconds: int, out: Path) -> int:
    """Runs one target; 0 where it found nothing."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz.engine", name, *options(name, seconds, out)]
    before = set((out / name).iterdir())
    log = out / name / "log.txt"
    try:
        with log.open("wb") as file:
            run = subprocess.run(
                command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=seconds + SLACK, check=False
            )
        code, text = run.returncode, log.read_text(errors="replace")
    except subprocess.TimeoutExpired:
        code, text = 1, f"{log.read_text(errors='replace')}\nit did not end in time"
    runs = next((line.split()[-1] for line in text.splitlines() if "number_of_executed_units" in line), "?")
    print(f"{name:14} {time.monotonic() - began:5.0f} s  {runs:>9} inputs  {'ok' if code == 0 else 'FAULT'}")
    if code:
        told(name, text, sorted(set((out / name).iterdir()) - before - {log}))
    return int(code != 0)


def told(name: str, text: str, found: list[Path]) -> None:
    """The end of what was said, and the reproducers."""
    lines = [line for line in text.splitlines() if not line.startswith(("#", "\t", "stat::"))]
    print("\n".join(f"    {line}" for line in lines[-30:]))
    for path in found:
        print(f"    again: {sys.executable} -m tests.fuzz --target {name} --replay {path}")


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--target", action="append", choices=sorted(TARGETS), help="one of them; default: all"
    )
    parser.add_argument("--seconds", type=int, default=60, help="of each target (60)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / ".pointsman" / "fuzz", help="reproducers, logs, corpus"
    )
    parser.add_argument("--replay", type=Path, action="append", help="inputs to try once, without fuzzing")
    asked = parser.parse_args()
    if asked.replay:
        from tests.fuzz.engine import quiet
        from tests.fuzz.targets import load

        quiet()
        for name in asked.target or []:
            for path in asked.replay:
                load(name)(path.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: .venv/bin/pip install -e '.[fuzz]'")
    out = asked.out.resolve()
    return sum([fuzz(name, asked.seconds, out) for name in asked.target or sorted(TARGETS)])


if __name__ == "__main__":
    sys.exit(main())
