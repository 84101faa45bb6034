"""Runs one section from nothing: starts its contenders, checks every answer, times them, ends everything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtests.bench.checking import check
from loadtests.bench.section import Outcome, Turn, run
from loadtests.bench.sections import Maker
from loadtests.bench.workshop import Workshop

Told = Callable[[str], None]


def cores() -> int:
    """That this process may use, and those it starts."""
    return len(os.sched_getaffinity(0))


@contextmanager
def workshop(routers: int = 1, replicas: int = 1) -> Iterator[Workshop]:
    """A workshop in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pm-bench-") as folder:
        # nginx' workers run as another user, and reach a socket in it.
        Path(folder).chmod(0o711)
        yield Workshop(Path(folder), routers, replicas)


def run_section(
    shop: Workshop, make: Maker, rounds: int, seconds: float, told: Told, core: int | None = None
) -> Outcome:
    """Raises Skipped, Wrong, Unclean; whatever it raises, nothing it started is left."""
    with ExitStack() as stack:
        section = make(shop, stack)
        for contender in section.contenders:
            told(f"{section.name}: checking {contender.title}: {contender.command}")
            checked = check(contender)
            told(f"{section.name}: {checked} answers of {contender.title} are right")

        def turn(now: Turn) -> None:
            told(
                f"{section.name}: round {now.round + 1}/{rounds}, c={now.connections}, {now.contender.title}"
            )

        return run(section, rounds, seconds, core, turn)
