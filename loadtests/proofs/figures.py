"""What a proof measured: names and numbers, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence

Figures = dict[str, float | int | str]


class Skipped(Exception):
    """The machine lacks something that a proof needs; the text says what."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0…1) of the sorted values lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def milliseconds(values: Sequence[float], name: str) -> Figures:
    """Median, p99 and maximum of seconds, in ms."""
    return {
        f"{name} p50 ms": round(percentile(values, 0.5) * 1e3, 2),
        f"{name} p99 ms": round(percentile(values, 0.99) * 1e3, 2),
        f"{name} max ms": round(max(values) * 1e3, 2),
    }
