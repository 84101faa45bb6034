"""Heads of replicas' answers by their bytes, because the same bytes mean the same; pure."""

from __future__ import annotations

from dataclasses import dataclass

Headers = list[tuple[bytes, bytes]]

KEPT = 1024
LONGEST = 2048  # bytes of one that is worth it


@dataclass(frozen=True, slots=True)
class Head:
    """What the parser found in the head of a whole answer with a length; nobody changes `headers`."""

    status: int
    headers: Headers
    length: int


class Heads:
    """Forgets all of them when it is full: most have a date in them."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, int] | None:
        """The head of `data` and where the body begins, if `data` is a whole answer and its head is known."""
        end = data.find(b"\r\n\r\n", 0, LONGEST + 4)
        head = self._known.get(data[:end]) if end > 0 else None
        return (head, end + 4) if head is not None and len(data) - end - 4 == head.length else None

    def learn(self, data: bytes, status: int, headers: Headers) -> None:
        """Keeps the head of `data`, an answer that the parser read to its end, if its length frames it."""
        end = data.find(b"\r\n\r\n", 0, LONGEST + 4)
        lengths = [value for name, value in headers if name == b"content-length"]
        if end < 0 or lengths != [b"%d" % (len(data) - end - 4)]:
            return
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[data[:end]] = Head(status, headers, int(lengths[0]))
