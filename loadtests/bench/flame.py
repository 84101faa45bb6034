"""A flame graph as an SVG file: a box a function, as wide as its share of the samples; no script in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

from loadtests.bench.stacks import Stack

WIDTH, ROW, TOP = 1400, 17, 34
LEAST = 0.0007
"""Narrower boxes are left out."""

HUES = {"router/": (150, 45), "uvicorn/": (35, 70), "starlette/": (50, 75), "asyncio/": (210, 40)}


@dataclass(slots=True)
class Box:
    """A function under one caller."""

    samples: int = 0
    below: dict[str, Box] = field(default_factory=dict)


def flame(stacks: Counter[Stack], title: str) -> str:
    """The drawing, outermost callers at the top; hovering over a box shows its share."""
    root = Box()
    for stack, count in stacks.items():
        box = root
        box.samples += count
        for frame in stack:
            box = box.below.setdefault(frame, Box())
            box.samples += count
    parts: list[str] = []
    depth = _draw(root, 0.0, 0, max(1, root.samples), parts)
    height = TOP + (depth + 1) * ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="monospace" font-size="11">'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="8" y="20" font-size="14">{escape(title)}, {root.samples} samples</text>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _draw(box: Box, left: float, depth: int, whole: int, parts: list[str]) -> int:
    """Draws what is below `box`; the depth reached."""
    deepest = depth
    for name, inner in sorted(box.below.items()):
        share = inner.samples / whole
        if share >= LEAST:
            parts.append(_rectangle(name, left, depth, share))
            deepest = max(deepest, _draw(inner, left, depth + 1, whole, parts))
        left += share
    return deepest


def _rectangle(name: str, left: float, depth: int, share: float) -> str:
    x, y, width = left * WIDTH, TOP + depth * ROW, share * WIDTH
    hue, saturation = next((found for place, found in HUES.items() if f"({place}" in name), (0, 0))
    light = 68 + crc32(name.encode()) % 16
    letters = int(width / 6.7) - 1
    text = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(name[:letters])}</text>' if letters > 3 else ""
    return (
        f"<g><title>{escape(name)}: {share:.1%}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(0.3, width - 0.4):.1f}" height="{ROW - 1}" '
        f'fill="hsl({hue},{saturation}%,{light}%)"/>{text}</g>'
    )
