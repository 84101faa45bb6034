"""What a JSON value means as a tensor, read element by element in plain Python: slow, and easy to believe."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from router.documents import TensorSpec


def flat(value: Any) -> list[Any]:
    """The leaves of nested lists, in order."""
    out: list[Any] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        else:
            out.append(item)
    return out


def same(array: np.ndarray, value: Any, spec: TensorSpec) -> None:
    """Every element of `array` is the leaf of `value` at its place: exactly, or the nearest float to it."""
    leaves = flat(value)
    assert array.size == len(leaves), (array.shape, len(leaves))
    for have, want in zip(array.ravel().tolist(), leaves, strict=True):
        _one(have, want, spec)


def _one(have: Any, want: Any, spec: TensorSpec) -> None:
    kind = spec.datatype
    if kind == "BYTES":
        wanted = want.encode() if isinstance(want, str) else base64.b64decode(want["b64"])
        assert have == wanted, (have, want)
    elif want is None:
        assert spec.missing == "allow"
        assert math.isnan(have)
    elif kind == "BOOL" or kind.startswith(("INT", "UINT")):
        assert isinstance(want, (bool, int, float)), want
        assert have == want, (have, want)
    else:
        assert isinstance(want, (bool, int, float)), want
        nearest = float(getattr(np, f"float{kind[2:]}")(want))
        # numpy goes by way of double, which may round twice: one step of the narrow type at most.
        step = 0.0 if kind == "FP64" else float(np.spacing(getattr(np, f"float{kind[2:]}")(nearest)))
        assert abs(have - nearest) <= abs(step), (have, want)
