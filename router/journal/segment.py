"""The bytes of a journal segment: lines, their checks and record ids; pure, touches no file."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

OVERHEAD = 10
"""Bytes a line adds to its JSON: eight hex digits, a space, a line feed."""

_INCARNATION = re.compile(r"[a-z0-9][a-z0-9.]{0,63}")
_RECORD_ID = re.compile(r"([a-z0-9][a-z0-9.]{0,63})-(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17})")
_FILE_NAME = re.compile(r"([0-9]{8,18})\.log")


@dataclass(frozen=True, slots=True)
class Line:
    """One sound line: its first byte's offset, the offset behind its line feed, and its JSON."""

    offset: int
    end: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes that are no sound line: `torn` has no line feed yet, `corrupt` has one but fails its check."""

    offset: int
    end: int
    kind: Literal["torn", "corrupt"]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in one incarnation's log; ordered as the log is written."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class RecordId:
    """The only identity of a record: where it stands."""

    incarnation: str
    position: Position

    def __str__(self) -> str:
        return f"{self.incarnation}-{self.position.segment}-{self.position.offset}"


def encode(payload: bytes) -> bytes:
    """The line that holds `payload`, a JSON text without a raw line feed (no JSON encoder emits one)."""
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def parse(line: bytes) -> bytes | None:
    """The JSON of one line given without its line feed; None when its check fails."""
    payload = line[9:]
    if line[:9] != b"%08x " % zlib.crc32(payload):
        return None
    return payload


def lines(data: bytes, base: int = 0) -> Iterator[Line | Fault]:
    """Every line of `data`, whose first byte stands at segment offset `base` and begins a line.

    The yielded spans touch: together they cover `data` exactly. Behind a corrupt line reading resumes at
    the next line feed. Bytes behind the last line feed come last, as one `torn` fault.
    """
    start, size = 0, len(data)
    while start < size:
        stop = data.find(b"\n", start)
        if stop < 0:
            yield Fault(base + start, base + size, "torn")
            return
        payload = parse(data[start:stop])
        if payload is None:
            yield Fault(base + start, base + stop + 1, "corrupt")
        else:
            yield Line(base + start, base + stop + 1, payload)
        start = stop + 1


def check_incarnation(incarnation: str) -> str:
    """`incarnation` itself; ValueError when a record id could not hold it unambiguously."""
    if _INCARNATION.fullmatch(incarnation) is None:
        raise ValueError(f"an incarnation matches {_INCARNATION.pattern}, {incarnation!r} does not")
    return incarnation


def is_incarnation(name: str) -> bool:
    """Whether a folder of this name can be an incarnation's."""
    return _INCARNATION.fullmatch(name) is not None


def parse_record_id(text: str) -> RecordId:
    """The parts of `<incarnation>-<segment>-<offset>`; ValueError when it is none or has leading zeros."""
    found = _RECORD_ID.fullmatch(text)
    if found is None:
        raise ValueError(f"not a record id: {text!r}")
    return RecordId(found[1], Position(int(found[2]), int(found[3])))


def file_name(segment: int) -> str:
    """The name of a segment's file."""
    return f"{segment:08d}.log"


def parse_file_name(name: str) -> int | None:
    """The segment a file of this name holds; None when it is no segment."""
    found = _FILE_NAME.fullmatch(name)
    if found is None or file_name(int(found[1])) != name:
        return None
    return int(found[1])
