"""Finds the end of streams whose begin was read, and joins the two; reads, never writes."""

from collections.abc import Iterator
from pathlib import Path

from router.journal.folder import alive, read_line, search, segment_path, segments
from router.journal.record import STREAM_AGE_S, Record, is_interrupted, merge, read_record
from router.journal.segment import Position, RecordId
from router.journal.tape import Budget, Spent

_NEEDLE = b'"event":"end"'


class Streams:
    """The streams of one incarnation for one answer: looks ahead from the first begin asked for, once."""

    def __init__(self, root: Path, incarnation: str, start: Position, budget: Budget) -> None:
        """`start` is where the first begin stands; only later ones may be asked for."""
        self._root, self._incarnation, self._budget = root, incarnation, budget
        # Before looking for ends: an end written in between must not make a finished stream interrupted.
        self._alive = alive(root / incarnation)
        self._ends: dict[str, Position] = {}
        self._ahead = self._look_ahead(start)
        self._spent = False

    def joined(self, at: Position, begin: Record, age_s: float, stream_age_s: float = STREAM_AGE_S) -> Record:
        """The one record of the stream that began `age_s` seconds ago at `at`.

        When the budget ends before an end is found, the stream reads as still running.
        """
        end = self._end(str(RecordId(self._incarnation, at)))
        gone = end is None and not self._spent and is_interrupted(self._alive, age_s, stream_age_s)
        return merge(begin, end, gone)

    def _end(self, begin_id: str) -> Record | None:
        at = self._ends.get(begin_id)
        if at is None and not self._spent:
            try:
                at = next((place for name, place in self._ahead if name == begin_id), None)
            except Spent:
                self._spent = True
        return None if at is None else self._read(at)

    def _look_ahead(self, start: Position) -> Iterator[tuple[str, Position]]:
        for segment in segments(self._root, self._incarnation):
            if segment.number < start.segment:
                continue
            offset = start.offset if segment.number == start.segment else 0
            self._budget.spend(max(segment.size - offset, 0))
            try:
                for found in search(segment.path, _NEEDLE, offset):
                    place = Position(segment.number, found)
                    record = self._read(place)
                    # The needle may stand deeper in a record, in what a caller sent.
                    if record is not None and record.get("event") == "end":
                        name = str(record.get("begin"))
                        self._ends.setdefault(name, place)
                        yield name, place
            except FileNotFoundError:
                continue

    def _read(self, at: Position) -> Record | None:
        line = read_line(segment_path(self._root, self._incarnation, at.segment), at.offset)
        return None if line is None else read_record(line.payload)
