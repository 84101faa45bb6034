"""A stream of HTTP/1.1 requests read by the letter, in few lines: what is sure is said, the rest is in doubt."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(rb"([A-Z]{3,10}) ([!-~]{1,2000}) HTTP/1\.1\Z")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?[ \t]*\Z"
)
_SIZE = re.compile(rb"[0-9a-fA-F]{1,6}\Z")
METHODS = (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")


@dataclass(frozen=True)
class Request:
    """One request that every reader must understand alike."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    end: int  # of its bytes in the stream


def read(data: bytes) -> tuple[list[Request], bool]:
    """The requests up to the first doubt, and whether there is none (all bytes belong to whole requests)."""
    found: list[Request] = []
    size = len(data)
    while data:
        head, mark, rest = data.partition(b"\r\n\r\n")
        request = _head(head) if mark else None
        if request is None:
            return found, False
        method, target, headers = request
        body = _body(headers, rest)
        if body is None:
            return found, False
        content, data = body
        found.append(Request(method, target, headers, content, size - len(data)))
        names = {name for name, _ in headers}
        if names & {b"connection", b"upgrade"}:
            return found, False  # who comes behind is not for this reading to say
    return found, True


def _head(head: bytes) -> tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]] | None:
    first, *lines = head.split(b"\r\n")
    start = _LINE.match(first)
    fields = [_FIELD.match(line) for line in lines]
    if start is None or start[1] not in METHODS or not start[2].startswith(b"/") or not all(fields):
        return None
    headers = tuple((field[1].lower(), field[2] or b"") for field in fields if field)
    names = [name for name, _ in headers]
    if names.count(b"host") != 1 or b"expect" in names or len(head) > 8000:
        return None
    if re.search(rb"[^A-Za-z0-9.:-]", dict(headers)[b"host"]):
        return None
    return start[1], start[2], headers


def _body(headers: tuple[tuple[bytes, bytes], ...], rest: bytes) -> tuple[bytes, bytes] | None:
    """The body and what follows it; None: in doubt, or not whole."""
    framing = [(name, value) for name, value in headers if name in (b"content-length", b"transfer-encoding")]
    if not framing:
        return b"", rest
    if len(framing) > 1:
        return None
    name, value = framing[0]
    if name == b"transfer-encoding":
        return _chunks(rest) if value.lower() == b"chunked" else None
    if not value.isdigit() or len(value) > 8 or int(value) > len(rest):
        return None
    return rest[: int(value)], rest[int(value) :]


def _chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        size, mark, rest = rest.partition(b"\r\n")
        if not mark or not _SIZE.match(size):
            return None
        length = int(size, 16)
        if length == 0:
            return (body, rest[2:]) if rest.startswith(b"\r\n") else None
        if rest[length : length + 2] != b"\r\n":
            return None
        body, rest = body + rest[:length], rest[length + 2 :]
