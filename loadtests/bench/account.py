"""What a section without contenders came to: a table of its own, and figures for the goals; values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """`rows` has as many cells each as `head`; `figures` are numbers by name, in the unit the name says."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: Mapping[str, float]
    command: str
    notes: tuple[str, ...] = ()
