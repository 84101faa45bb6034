"""Reads the request log of one host, all incarnations together, while routers append and retention deletes."""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog

from router.clock import parse_rfc3339, rfc3339
from router.journal.cursor import Cursor, decode
from router.journal.folder import alive, incarnations, read_line, search, segment_path, segments
from router.journal.record import STREAM_AGE_S, Record, payload_time, read_record, time_key
from router.journal.segment import Position, RecordId, parse_record_id
from router.journal.stream import Streams
from router.journal.tape import Budget, Spent, Tape

SCAN_BYTES = 64 << 20
"""Read for one page at most; a page may end short of its limit, and the next goes on."""

AHEAD_BYTES = 256 << 20
"""Searched at most, for one answer, for the ends of streams."""

SETTLED_S = 60
"""A dead incarnation that was last written so long ago, and is read, need not stand in a cursor."""

MTIME_SLACK_S = 1.0
"""A file's mtime comes from a coarser clock than its records' times, and may lie before the last of them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """Records oldest first; `cursor` goes on exactly behind them; `more`: there was more to read already."""

    records: list[Record]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True, order=True)
class _Head:
    """The next record of one incarnation, ordered by time."""

    key: str
    incarnation: str
    at: Position
    record: Record


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which lines a page wants; the needles only spare the parsing of others."""

    model: str | None
    version: str | None
    since: float

    def needles(self) -> list[bytes]:
        wanted = {"model": self.model, "version": self.version}
        return [orjson.dumps({k: v})[1:-1] for k, v in wanted.items() if v is not None]

    def takes(self, record: Record) -> bool:
        return (
            record.get("event") != "end"
            and (self.model is None or record.get("model") == self.model)
            and (self.version is None or record.get("version") == self.version)
        )


class Reader:
    """The records under a journal root. Each answer is read afresh; methods block (run them in a thread).

    Every record is a dict with its `record_id`; a stream is one record, standing where it began.
    """

    def __init__(
        self, root: Path, now: Callable[[], float] = time.time, stream_age_s: float = STREAM_AGE_S
    ) -> None:
        self._root = root
        self._now = now
        self._stream_age_s = stream_age_s

    def get(self, record_id: str) -> Record | None:
        """The record of that id, None when it is not here (any more); ValueError when it is no record id."""
        place = parse_record_id(record_id)
        record = self._read(place)
        if record is None or record.get("event") == "end":
            return None
        return self._finish(place, record, {}, Budget(AHEAD_BYTES))

    def find(self, request_id: str, limit: int = 100) -> list[Record]:
        """The records of a request id, oldest first: of many (callers may repeat ids) about the last `limit`."""
        needle = orjson.dumps({"request_id": request_id})[1:-1]
        everything = [s for name in incarnations(self._root) for s in segments(self._root, name)]
        found: dict[RecordId, Record] = {}
        for segment in sorted(everything, key=lambda s: (s.mtime, s.number), reverse=True):
            try:
                hits = deque(search(segment.path, needle), maxlen=limit)
            except FileNotFoundError:
                continue  # deleted by retention meanwhile
            except OSError as error:
                log.warning("segment_unreadable", path=str(segment.path), error=str(error))
                continue
            for at in hits:
                place = RecordId(segment.incarnation, Position(segment.number, at))
                found.update(self._whose(place, request_id))
            if len(found) >= limit:
                break
        streams: dict[str, Streams] = {}
        budget = Budget(AHEAD_BYTES)
        places = sorted(found, key=lambda p: (p.incarnation, p.position))
        whole = [self._finish(place, found[place], streams, budget) for place in places]
        return sorted(whole, key=lambda r: time_key(str(r.get("time"))))

    def _whose(self, place: RecordId, request_id: str) -> dict[RecordId, Record]:
        """The record at `place`, or the begin of the end that stands there, if it is `request_id`'s."""
        record = self._read(place)
        if record is None or record.get("request_id") != request_id:
            return {}  # the needle stood deeper in the record
        if record.get("event") == "end":
            try:
                place = parse_record_id(str(record.get("begin")))
            except ValueError:
                return {}
            record = self._read(place)
        return {} if record is None else {place: record}

    def page(
        self,
        model: str | None = None,
        version: str | None = None,
        since: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Up to `limit` records of that model and version, written at `since` (seconds of the epoch) or later.

        Repeat the filters with the page's cursor to go on: nothing is skipped or repeated, also while
        routers append. CursorInvalid for a text that is no cursor.
        """
        wanted = _Filter(model, version, since or 0.0)
        budget = Budget(SCAN_BYTES)
        watermark = int(self._now()) - SETTLED_S
        tapes = self._tapes(decode(cursor) if cursor else Cursor(), wanted.since, budget)
        heads = {name: self._heads(tape, wanted) for name, tape in tapes.items()}
        taken: list[_Head] = []
        heap: list[_Head] = []
        more = False
        try:
            for source in heads.values():
                heap.extend(_next(source))
            heapq.heapify(heap)
            while heap and len(taken) < limit:
                head = heap[0]
                taken.append(head)
                heapq.heappop(heap)
                for following in _next(heads[head.incarnation]):
                    heapq.heappush(heap, following)
        except Spent:
            more = True
        places = {name: tape.position for name, tape in tapes.items()}
        places.update({head.incarnation: head.at for head in heap})
        return Page(
            self._joined(taken),
            Cursor(watermark, self._listed(places, watermark)).encode(),
            more or bool(heap),
        )

    def _tapes(self, cursor: Cursor, since: float, budget: Budget) -> dict[str, Tape]:
        """The incarnations to read, from where the cursor left them."""
        tapes = {}
        for name in incarnations(self._root):
            start = cursor.positions.get(name)
            if start is None:
                start = Position(0, 0)
                newest = max((s.mtime for s in segments(self._root, name)), default=0.0)
                if newest < max(cursor.watermark, since - MTIME_SLACK_S) and not alive(self._root / name):
                    continue
            tapes[name] = Tape(self._root, name, start, budget)
        return tapes

    def _listed(self, places: dict[str, Position], watermark: int) -> dict[str, Position]:
        """The places a cursor must name: of all but the dead, settled and read."""
        listed = {}
        for name, place in places.items():
            if not alive(self._root / name):
                last = max(segments(self._root, name), key=lambda s: s.number, default=None)
                if last is None or (last.mtime < watermark and place >= Position(last.number, last.size)):
                    continue
            listed[name] = place
        return listed

    def _heads(self, tape: Tape, wanted: _Filter) -> Iterator[_Head]:
        """The records of one incarnation that `wanted` takes, in file order."""
        needles = wanted.needles()
        since = time_key(rfc3339(wanted.since))
        for at, line in tape.lines(wanted.since - MTIME_SLACK_S):
            written = payload_time(line.payload)
            if written is not None and time_key(written) < since:
                continue
            if not all(needle in line.payload for needle in needles):
                continue
            record = read_record(line.payload)
            if record is None:
                continue
            key = time_key(str(record.get("time")))
            if key >= since and wanted.takes(record):
                yield _Head(key, tape.incarnation, at, record)

    def _joined(self, heads: list[_Head]) -> list[Record]:
        streams: dict[str, Streams] = {}
        budget = Budget(AHEAD_BYTES)
        return [
            self._finish(RecordId(head.incarnation, head.at), head.record, streams, budget) for head in heads
        ]

    def _finish(self, place: RecordId, record: Record, streams: dict[str, Streams], budget: Budget) -> Record:
        """The record as it is given out: a begin joined with its end, and the record id."""
        if record.get("event") == "begin":
            name = place.incarnation
            if name not in streams:
                streams[name] = Streams(self._root, name, place.position, budget)
            age_s = self._now() - _epoch(str(record.get("time")))
            record = streams[name].joined(place.position, record, age_s, self._stream_age_s)
        return {"record_id": str(place), **record}

    def _read(self, place: RecordId) -> Record | None:
        path = segment_path(self._root, place.incarnation, place.position.segment)
        line = read_line(path, place.position.offset)
        return None if line is None else read_record(line.payload)


def _next(source: Iterator[_Head]) -> list[_Head]:
    """The next head, if there is one."""
    return [head for head in (next(source, None),) if head is not None]


def _epoch(written: str) -> float:
    """Seconds of the epoch of a record's time; 0 (long ago) when it is unreadable."""
    try:
        return parse_rfc3339(written)
    except ValueError:
        return 0.0
