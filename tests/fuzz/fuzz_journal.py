"""The journal: lines cover their bytes; cursors and ids round-trip; a broken file breaks no reader."""

# ruff: noqa: PT017 (an error is one of the two right outcomes)

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

import orjson

from router.journal import block, cursor
from router.journal.reader import Reader
from router.journal.segment import Line, Position, encode, file_name, lines, parse, parse_file_name
from router.journal.segment import parse_record_id as record_id

NOW = 1.8e9


def check(data: bytes) -> None:
    """Pure parts first, then readers on a folder that holds these bytes."""
    _lines(data)
    _texts(data[:4096])
    # The same as sound lines of whatever content, so that what lies behind the check sum is reached, too.
    sound = b"".join(encode(part) for part in data.split(b"\n"))
    _read([data, sound])


def _lines(data: bytes) -> None:
    at, out = 7, b""
    for item in lines(data, 7):
        assert item.offset == at
        at = item.end
        if isinstance(item, Line):
            assert encode(item.payload) == data[item.offset - 7 : item.end - 7]
            out += item.payload
    assert at == 7 + len(data)
    one = data.replace(b"\n", b" ")
    assert parse(encode(one)[:-1]) == one
    found = block.records("r0", block.Block(Position(0, 7), at, 0, data))
    assert b"".join(payload for _, payload in found) == out


def _texts(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        assert str(record_id(text)) == text
    except ValueError as error:
        assert "not a record id" in str(error)
    number = parse_file_name(text)
    assert number is None or file_name(number) == text
    for given in (text, base64.urlsafe_b64encode(data).rstrip(b"=").decode()):
        try:
            found = cursor.decode(given)
        except cursor.CursorInvalid as error:
            orjson.dumps(error.body())
        else:
            assert cursor.decode(found.encode()) == found


def _read(segments: list[bytes]) -> None:
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz", dir=fast) as place:
        root = Path(place)
        (root / "r0.a").mkdir()
        for number, data in enumerate(segments):
            (root / "r0.a" / file_name(number)).write_bytes(data)
        reader = Reader(root, now=lambda: NOW)
        at, seen = "", set()
        for _ in range(100):
            page = reader.page(limit=50, cursor=at)
            names = [record["record_id"] for record in page.records]
            assert not seen & set(names), "a record came twice"
            seen |= set(names)
            at = page.cursor
            if not page.more:
                break
        for name in list(seen)[:2]:
            found = reader.get(name)
            assert found is not None
            assert found["record_id"] == name
            reader.find(str(found.get("request_id")))
        reader.page(model="m", version="1", since=0.0)
