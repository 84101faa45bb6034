"""Kept-alive connections that each send one row after another, no row twice, and note what each was answered.

Knows nothing of what the answers should be; one event loop, no client library.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import uvloop

from loadtests.bench.bodies import Form

UNANSWERED: Final = -1
TOLD: Final = 3
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")


@dataclass(frozen=True, slots=True)
class Way:
    """A path and the form that it takes."""

    path: str
    form: Form


@dataclass(slots=True)
class Answers:
    """By row: the number that came back (int64 [n]) and the scores (float64 [n, outputs]); `failures` in words."""

    row: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    failures: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(cls, count: int, outputs: int) -> Answers:
        """Of none of `count` rows."""
        return cls(np.full(count, UNANSWERED, np.int64), np.full((count, outputs), np.nan))


class Line(asyncio.Protocol):
    """One connection: the next row is taken when an answer is whole."""

    def __init__(
        self, way: Way, table: npt.NDArray[np.float32], ahead: Iterator[int], answers: Answers
    ) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._way, self._table, self._ahead, self._answers = way, table, ahead, answers
        self._at: int | None = None
        self._received = bytearray()
        given = "".join(f"{name}: {value}\r\n" for name, value in way.form.headers.items())
        self._head = f"POST {way.path} HTTP/1.1\r\nhost: bench\r\n{given}content-length: ".encode()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first row."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._next()

    def data_received(self, data: bytes) -> None:
        """Notes an answer once it is whole; what is no HTTP ends everything."""
        self._received += data
        try:
            self._read()
        except (KeyError, ValueError) as error:
            self.ended.set_exception(ValueError(f"no HTTP: {error}: {bytes(self._received[:300])!r}"))
            self._transport.abort()

    def _read(self) -> None:
        head, found, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not found:
            return
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").lower().split("\r\n")[1:])
        size = int(headers["content-length"])
        if len(rest) < size:
            return
        self._received.clear()
        self._note(head, headers, rest[:size], len(rest) - size)
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        """A row whose answer is not whole by now will have none."""
        if self._at is not None:
            self._answers.failures[f"connection lost: {error}"] += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def _next(self) -> None:
        self._at = next(self._ahead, None)
        if self._at is None:
            self._transport.close()
            return
        body = self._way.form.write(self._table[self._at : self._at + 1])
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def _note(self, head: bytes, headers: dict[str, str], body: bytes, behind: int) -> None:
        status = _STATUS.match(head)
        if status is None or status[1] != b"200":
            self._answers.failures[f"{head[:16]!r} {body[:200]!r}"] += 1
            return
        if behind:
            self._answers.failures["bytes behind an answer"] += 1
            return
        try:
            given = self._way.form.read(body, headers)
            (row,), (score,) = given["row"], given["score"]
            self._answers.row[self._at] = row
            self._answers.score[self._at] = score
        except (KeyError, TypeError, ValueError) as error:
            self._answers.failures[f"{type(error).__name__}: {error}: {body[:200]!r}"] += 1


def ask(
    port: int, ways: Sequence[Way], table: npt.NDArray[np.float32], outputs: int, lines: int, limit_s: float
) -> Answers:
    """Sends each row of `table` [n, features] once, over `lines` connections that take turns with the ways.

    Raises TimeoutError after `limit_s`, OSError where it cannot connect; anything else is in the answers.
    """
    answers = Answers.empty(len(table), outputs)
    ahead = iter(range(len(table)))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        opened: list[Line] = []
        async with asyncio.timeout(limit_s):
            for number in range(lines):
                way = ways[number % len(ways)]
                _, line = await loop.create_connection(
                    lambda way=way: Line(way, table, ahead, answers),  # type: ignore[misc]
                    "127.0.0.1",
                    port,
                )
                opened.append(line)
            await asyncio.gather(*(line.ended for line in opened))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    return answers
