"""Blocks of lines: how a part of a segment becomes one entry of a Redis Stream, and back; knows no Redis.

The stream of an incarnation is `pm:log:{<incarnation>}`; the braces spread streams over a Cluster. An entry's
id is `<segment + 1>-<offset of its first byte>`: ids rise as the log does, and 0-0, which Redis refuses, cannot
occur. Fields: `b` the raw lines, `n` how many of them are sound, `end` the offset behind the last. Entries of
one segment touch, so that each record's id follows from its place in `b`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.journal.folder import segments
from router.journal.segment import Fault, Line, Position, RecordId, lines

LOGS_KEY = "pm:logs"
"""The set of all incarnations that have a stream."""


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines that follow each other: `count` sound ones in `raw`, from `start` to offset `end`."""

    start: Position
    end: int
    count: int
    raw: bytes


def stream_key(incarnation: str) -> str:
    """The key of an incarnation's stream."""
    return f"pm:log:{{{incarnation}}}"


def entry_id(start: Position) -> str:
    """The explicit id of the entry whose block begins at `start`."""
    return f"{start.segment + 1}-{start.offset}"


def parse_entry_id(entry: str | bytes) -> Position:
    """Where the block of that entry begins."""
    text = entry.decode() if isinstance(entry, bytes) else entry
    segment, _, offset = text.partition("-")
    return Position(int(segment) - 1, int(offset))


def fields(block: Block) -> dict[str, bytes | int]:
    """The fields of a block's entry."""
    return {"b": block.raw, "n": block.count, "end": block.end}


def parse_entry(entry: str | bytes, values: Mapping[bytes, bytes]) -> Block:
    """The block of a stream entry as a client without decoding returns it."""
    return Block(parse_entry_id(entry), int(values[b"end"]), int(values[b"n"]), values[b"b"])


def records(incarnation: str, block: Block) -> list[tuple[str, bytes]]:
    """The block's sound records: record id and JSON, in order."""
    return [
        (str(RecordId(incarnation, Position(block.start.segment, line.offset))), line.payload)
        for line in lines(block.raw, block.start.offset)
        if isinstance(line, Line)
    ]


def read_block(
    root: Path, incarnation: str, place: Position, max_bytes: int, max_records: int
) -> tuple[Block | None, Position]:
    """The next block at or behind `place`, and the place behind it; None when no whole line waits there.

    Torn ends of segments that have a successor are passed over; a single line may exceed `max_bytes`.
    """
    while True:
        ahead = [s for s in segments(root, incarnation) if s.number >= place.segment]
        if not ahead:
            return None, place
        current, *later = ahead
        if current.number > place.segment:
            place = Position(current.number, 0)
        # Listed before it is read: with a successor there, this segment had already got its last byte.
        block = _read(current.path, place, max_bytes, max_records) if current.size > place.offset else None
        if block is not None:
            place = Position(place.segment, block.end)
            if block.count:
                return block, place
        elif later:
            place = Position(later[0].number, 0)
        else:
            return None, place


def _read(path: Path, place: Position, max_bytes: int, max_records: int) -> Block | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        size = max_bytes
        while True:
            data = os.pread(fd, size, place.offset)
            count, end = _measure(data, place.offset, max_records)
            if end > place.offset:
                return Block(place, end, count, data[: end - place.offset])
            if len(data) < size:
                return None
            size *= 2
    finally:
        os.close(fd)


def _measure(data: bytes, offset: int, max_records: int) -> tuple[int, int]:
    """How many sound lines there are in the whole lines of `data`, at most `max_records`, and their end."""
    count, end = 0, offset
    for item in lines(data, offset):
        if isinstance(item, Fault) and item.kind == "torn":
            break
        end = item.end
        count += isinstance(item, Line)
        if count == max_records:
            break
    return count, end
