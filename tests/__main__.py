"""`make test`: the whole suite, two halves side by side, then what measures time, by itself.

Most tests wait for processes; one after another they would leave half of two cores idle.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SIDE = (
    "access", "agent", "audit", "bentos_behind", "catalog", "cli", "client", "control", "fuzz", "journal",
    "registry", "route", "services",
)  # fmt: skip
ALONE = ("fleet",)


def halves() -> tuple[list[str], list[str], list[str]]:
    """What runs first, beside it and after both; every test file is in exactly one of them."""
    everything = sorted(
        str(path.relative_to(HERE.parent))
        for path in HERE.iterdir()
        if (path.is_dir() and any(path.glob("test_*.py"))) or path.match("test_*.py")
    )
    side = [f"tests/{name}" for name in SIDE]
    alone = [f"tests/{name}" for name in ALONE]
    return [path for path in everything if path not in {*side, *alone}], side, alone


def main(words: list[str]) -> int:
    """Runs them with the words given to pytest; the worst status."""
    # Both halves need the examples, and must not build them at once.
    subprocess.run([sys.executable, "-m", "bentos.build"], check=True)
    first, side, alone = halves()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    with tempfile.TemporaryFile() as told:
        beside = subprocess.Popen([*command, *side], stdout=told, stderr=subprocess.STDOUT)
        statuses = [subprocess.run([*command, *first], check=False).returncode, beside.wait()]
        told.seek(0)
        sys.stdout.buffer.write(told.read())
        sys.stdout.buffer.flush()
    statuses.append(subprocess.run([*command, *alone], check=False).returncode)
    return max(statuses)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
