"""The caller's side of a tunnel: it keeps its connection's place among the callers' until it is closed."""

from __future__ import annotations

from collections.abc import Callable

from router.upstream.pipe import Pipe


class CallerPipe(Pipe):
    """Calls `closed` once, when the connection is lost."""

    def __init__(self, closed: Callable[[], None]) -> None:
        super().__init__()
        self._at_close = closed

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the place up."""
        super().connection_lost(exc)
        self._at_close()
