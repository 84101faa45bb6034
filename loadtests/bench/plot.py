"""Requests a second by connections as an SVG file, both axes logarithmic; no library, no measuring."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10

from loadtests.bench.section import Outcome

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 250, 44, 48
COLOURS = ("#0b6e4f", "#3a9d78", "#b5432a", "#e08e45", "#3b4ba3", "#7a7a7a")

Series = tuple[str, list[tuple[int, float]]]


def series_of(outcomes: dict[str, Outcome]) -> list[Series]:
    """A line a contender of the sections `rows` and `contract`, whose requests are the same."""
    found: list[Series] = []
    for name in ("rows", "contract"):
        outcome = outcomes.get(name)
        if outcome is None:
            continue
        for contender in outcome.section.contenders:
            if name == "contract" and contender.key == "plain" and "rows" in outcomes:
                continue  # the same server with the same requests as in `rows`
            points = [
                (number, outcome.middle(contender.key, number).rps) for number in outcome.section.connections
            ]
            found.append((contender.title, points))
    return found


def svg(series: list[Series]) -> str:
    """The drawing; empty text where there is nothing to draw."""
    if not series:
        return ""
    xs = sorted({x for _, points in series for x, _ in points})
    ys = [y for _, points in series for _, y in points]
    low, high = floor(log10(min(ys))), ceil(log10(max(ys)))
    high = max(high, low + 1)
    span = max(log10(xs[-1] / xs[0]), 0.1)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * log10(x / xs[0]) / span
        down = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (log10(y) - low) / (high - low)
        return round(across, 1), round(down, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 22, "Requests a second by connections, 1 row of JSON (both axes logarithmic)", size=14),
    ]
    right = WIDTH - RIGHT
    for decade in range(low, high + 1):
        _, y = at(xs[0], 10.0**decade)
        parts += [_line(LEFT, y, right, y), _text(LEFT - 8, y + 4, f"{10**decade:,}", anchor="end")]
    for x in xs:
        across, _ = at(x, 10.0**low)
        parts += [
            _line(across, TOP, across, HEIGHT - BOTTOM),
            _text(across, HEIGHT - BOTTOM + 18, str(x), anchor="middle"),
        ]
    parts.append(_text((LEFT + right) / 2, HEIGHT - 10, "connections", anchor="middle"))
    ends = _apart(sorted((at(*points[-1])[1], index) for index, (_, points) in enumerate(series)))
    for index, (title, points) in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        placed = [at(x, y) for x, y in points]
        drawn = " ".join(f"{x},{y}" for x, y in placed)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in placed]
        told = f"{title}: {points[-1][1]:,.0f}/s"
        parts.append(_text(right + 10, ends[index] + 4, told, colour=colour))
    return "\n".join([*parts, "</svg>", ""])


def _apart(ends: list[tuple[float, int]], least: float = 15.0) -> dict[int, float]:
    """Heights of the labels, moved down until none covers another."""
    placed: dict[int, float] = {}
    before = -least
    for height, index in ends:
        before = max(height, before + least)
        placed[index] = before
    return placed


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222", size: int = 12
) -> str:
    style = f'text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="#ddd"/>'
