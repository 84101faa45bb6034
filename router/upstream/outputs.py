"""The outputs of one exchange, for all whose rows travelled in it: arrays, and their JSON by row; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from router.tensors import Array, nonfinite

TEXT_BYTES = 256 << 10
"""Larger outputs are not written as one text: among few callers that would hold up the others."""


class Outputs:
    """Arrays by name; `finite` is false where some output of the whole batch has NaN or infinity.

    What a codec makes of all rows at once it may keep in `memo`, by keys that begin with its own name.
    """

    __slots__ = ("_texts", "arrays", "finite", "memo", "row_bytes")

    def __init__(self, arrays: Mapping[str, Array], rows: int) -> None:
        """`rows` is the number of leading rows that all arrays share, 0 where they share none."""
        self.arrays = arrays
        self.finite = nonfinite(arrays) is None
        self.row_bytes = sum([array.nbytes for array in arrays.values()]) / (rows or 1)
        self.memo: dict[tuple[str, ...], Any] = {}
        self._texts: dict[str, list[bytes] | None] = {}

    def texts(self, name: str) -> list[bytes] | None:
        """The JSON of each row of an output, that of a row of several numbers without its brackets.

        None for what does not lend itself to it: text, more than two dimensions, much data.
        """
        try:
            return self._texts[name]
        except KeyError:
            found = self._texts[name] = _texts(self.arrays[name])
            return found


def _texts(array: Array) -> list[bytes] | None:
    if (
        array.ndim not in (1, 2)
        or array.size == 0
        or array.nbytes > TEXT_BYTES
        or array.dtype.kind not in "iufb"
    ):
        return None
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[1:-1].split(b",") if array.ndim == 1 else text[2:-2].split(b"],[")
