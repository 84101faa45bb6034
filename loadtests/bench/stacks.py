"""Sampled stacks of a process by py-spy: which room each sample belongs to, and a flame graph; sends no load."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MISSING: Final = "py-spy is not installed: pip install py-spy (a development dependency)"
RATE: Final = 250
"""Samples a second."""

LOOP: Final = "event loop"
SERVER: Final = "HTTP server (uvicorn)"

Stack = tuple[str, ...]
"""Frames from the outermost inwards, each as py-spy writes it: `function (file:line)`."""


def py_spy() -> str | None:
    """Its path: beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def start(pid: int, seconds: float, target: Path) -> subprocess.Popen[str]:
    """Samples what `pid` does on the CPU (not where it waits), to `target`; raises FileNotFoundError."""
    path = py_spy()
    if path is None:
        raise FileNotFoundError(MISSING)
    command = [path, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds)))]
    command += ["--rate", str(RATE), "--format", "raw", "--full-filenames", "--output", str(target)]
    # Stopping a process wakes its waiting threads, and they would count as working.
    command.append("--nonblocking")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read(text: str) -> Counter[Stack]:
    """Samples by stack, of py-spy's raw format: `frame;frame;frame count` a line."""
    found: Counter[Stack] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():
            found[tuple(frames.split(";"))] += int(count)
    return found


def room_of(stack: Stack, root: Path) -> str:
    """The room whose code is innermost: what a library spends is of the room that called it.

    Only uvicorn counts for itself: it reads the requests and writes the answers to sockets. A stack without
    either is the loop's.
    """
    prefix = f"{root}/router/"
    for frame in reversed(stack):
        if "/uvicorn/" in frame:
            return SERVER
        _, found, rest = frame.partition(f"({prefix}")
        if found:
            room, slash, _ = rest.partition("/")
            # __main__ is under everything: alone, it is the loop that it runs.
            if rest.startswith(("edge/__main__.py", "edge/server.py")):
                continue
            return room if slash else "router (ground floor)"
    return LOOP


def rooms(stacks: Counter[Stack], root: Path) -> Counter[str]:
    """Samples by room."""
    found: Counter[str] = Counter()
    for stack, count in stacks.items():
        found[room_of(stack, root)] += count
    return found


def functions(stacks: Counter[Stack], root: Path) -> Counter[str]:
    """Samples by innermost frame, whatever code it is: where the time is spent itself."""
    found: Counter[str] = Counter()
    for stack, count in stacks.items():
        found[short(stack[-1], root)] += count
    return found


def short(frame: str, root: Path) -> str:
    """A frame without its line, and without the folders that say nothing."""
    name, _, place = frame.partition(" (")
    file = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    for marker in (f"{root}/", "site-packages/", "lib/python3.11/"):
        if marker in file:
            file = file.rpartition(marker)[2]
            break
    return f"{name} ({file})" if file else name


def merged(stacks: Counter[Stack], root: Path) -> Counter[Stack]:
    """The same by function: lines of one function are one box of a flame graph."""
    found: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        found[tuple(short(frame, root) for frame in stack)] += count
    return found


def total(counts: Iterable[int]) -> int:
    """All samples; at least 1, to divide by."""
    return max(1, sum(counts))
