"""One incarnation's sound lines in the order they were written, across its segments; reads, never parses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from router.journal.folder import read_lines, segments
from router.journal.segment import Fault, Line, Position

CHUNK = 64 << 10
"""Small: hundreds of tapes may be open side by side."""

log = structlog.get_logger(__name__)


class Spent(Exception):
    """The bytes that one answer may read are used up."""


@dataclass(slots=True)
class Budget:
    """How many bytes may still be read for one answer."""

    left: int

    def spend(self, count: int) -> None:
        """Take `count` bytes off; Spent when there were none left."""
        if self.left <= 0:
            raise Spent
        self.left -= count


class Tape:
    """Reads forward from `position` to what is written now; `position` is always that of the next unread byte.

    Segments that retention deletes meanwhile are passed over, as are corrupt lines and the torn ends of
    segments that no longer grow, and segments that cannot be read.
    """

    def __init__(self, root: Path, incarnation: str, position: Position, budget: Budget) -> None:
        self.incarnation = incarnation
        self.position = position
        self._root = root
        self._budget = budget

    def lines(self, not_before: float = 0.0) -> Iterator[tuple[Position, Line]]:
        """The lines and where each stands. Segments last written before `not_before` (epoch s) are skipped.

        Raises Spent, with `position` behind the last line given; a new call goes on from there.
        """
        while True:
            ahead = [s for s in segments(self._root, self.incarnation) if s.number >= self.position.segment]
            if not ahead:
                return
            current, *later = ahead
            if current.number > self.position.segment:
                self.position = Position(current.number, 0)
            # Listed before it is read: with a successor there, this segment had already got its last byte.
            if current.size > self.position.offset and current.mtime >= not_before:
                yield from self._segment(current.path, current.number)
            if not later:
                return
            self.position = Position(later[0].number, 0)

    def _segment(self, path: Path, number: int) -> Iterator[tuple[Position, Line]]:
        try:
            for item in read_lines(path, self.position.offset, CHUNK):
                if isinstance(item, Fault) and item.kind == "torn":
                    return
                self._budget.spend(item.end - item.offset)
                self.position = Position(number, item.end)
                if isinstance(item, Line):
                    yield Position(number, item.offset), item
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("segment_unreadable", path=str(path), error=str(error))
