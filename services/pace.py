"""How long a model has recently taken by number of rows; pure, decides where a call may run."""

from __future__ import annotations

from typing import Final

_NEW: Final = 0.2  # weight of the newest measurement


class Pace:
    """A moving average of microseconds a call, in classes of rows that double: 1, 2–3, 4–7 …"""

    def __init__(self) -> None:
        self._us: list[float | None] = [None] * 65

    def record(self, rows: int, us: int) -> None:
        """Notes that a call of `rows` rows took `us` microseconds."""
        size = min(rows.bit_length(), 64)
        known = self._us[size]
        self._us[size] = float(us) if known is None else known + _NEW * (us - known)

    def expected(self, rows: int) -> float | None:
        """Microseconds expected of `rows` rows; None when nothing was measured yet.

        Unmeasured sizes are taken from the nearest smaller one in proportion to the rows, else from the
        nearest larger one as it is: both err on the side of "long".
        """
        size = min(rows.bit_length(), 64)
        for smaller in range(size, -1, -1):
            known = self._us[smaller]
            if known is not None:
                return known * float(2 ** (size - smaller))
        return next((known for known in self._us[size:] if known is not None), None)
