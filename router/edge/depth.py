"""How deep JSON nests, told from its bytes alone: for bodies that were refused, whatever else is wrong; pure."""

from __future__ import annotations

import numpy as np

DEEPEST = 64  # as many dimensions as numpy has
PIECE = 1 << 18  # bytes looked at together
_QUOTE, _OPEN, _CLOSE = 0x22, 0x7B, 0x7D  # brackets become braces by their case bit


def too_deep(body: bytes) -> bool:
    """Whether lists and objects stand more than 64 deep in each other; brackets within texts do not count.

    No tensor is that deep: a body that was read well need not be asked about.
    """
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    depth = quotes = 0
    for start in range(0, len(body), PIECE):
        part = np.frombuffer(body, np.uint8, min(PIECE, len(body) - start), start)
        folded = part | 0x20
        marks = folded[(part == _QUOTE) | (folded == _OPEN) | (folded == _CLOSE)]
        quote = marks == _QUOTE
        steps = (_OPEN + 1 - marks.astype(np.int32)) * ~quote  # +1, -1, and 0 for a quote
        inside = ((np.cumsum(quote) + quotes) & 1).astype(bool)
        levels = np.cumsum(np.where(inside, 0, steps)) + depth
        if not levels.size:
            continue
        if levels.max() > DEEPEST:
            return True
        depth, quotes = int(levels[-1]), quotes + int(quote.sum())
    return False
