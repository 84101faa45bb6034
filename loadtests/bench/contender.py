"""One contender: where requests go, in which form, and whose CPU time they cost; a value."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from loadtests.bench.bodies import Bodies
from loadtests.bench.tree import Root


@dataclass(frozen=True, slots=True)
class Contender:
    """`key` names it in a section. `command` is how it was started, exactly.

    `settled` waits until work left over from the load is done (the shipper's), and gives the seconds;
    `during` wraps each load.
    """

    key: str
    title: str
    url: str
    bodies: Bodies
    roots: tuple[Root, ...]
    command: str
    settled: Callable[[], float] = lambda: 0.0
    during: Callable[[], AbstractContextManager[object]] = field(default=nullcontext)
