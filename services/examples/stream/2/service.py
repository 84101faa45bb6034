"""Version 2 of a streaming service: its events are named otherwise and end with `done`; it counts letters too."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Final

import bentoml
import pydantic
from annotated_types import Ge, Le

VERSION: Final = "2"
EVENTS: Final = ("ping", "pong")

Count = Annotated[int, Ge(0), Le(1_000_000)]
Size = Annotated[int, Ge(1), Le(1_048_576)]
Pause = Annotated[float, Ge(0), Le(10_000)]


class Receipt(pydantic.BaseModel):
    """What arrived: its length in bytes and its SHA-256 in hex."""

    version: str
    bytes: int
    sha256: str


class Report(pydantic.BaseModel):
    """What the task found in its text."""

    version: str
    words: int
    letters: int


@bentoml.service(
    name="stream",
    workers=1,
    traffic={"timeout": 300},
    image=bentoml.images.Image(python_version="3.11", lock_python_packages=False).python_packages(
        "bentoml==1.4.39"
    ),
)
class Stream:
    """Answers piece by piece."""

    @bentoml.api
    async def events(self, count: Count = 5, pause_ms: Pause = 0) -> AsyncGenerator[str, None]:
        """`count` server-sent events, `pause_ms` between them, and one `done` that says how many there were."""
        for number in range(count):
            event = EVENTS[number % len(EVENTS)]
            yield f'id: {number}\nevent: {event}\ndata: {{"number": {number}, "version": "{VERSION}"}}\n\n'
            # Also with no pause: lets what was said be sent before the next is made.
            await asyncio.sleep(pause_ms / 1000)
        yield f'id: {count}\nevent: done\ndata: {{"number": {count}, "version": "{VERSION}"}}\n\n'

    @bentoml.api
    async def chunks(
        self, context: bentoml.Context, count: Count = 5, size: Size = 64, pause_ms: Pause = 0
    ) -> AsyncGenerator[str, None]:
        """`count` chunks of `size` bytes: the version and the number, filled up with dots, then a line end."""
        context.response.headers["content-type"] = "text/plain; charset=utf-8"  # BentoML says event-stream
        for number in range(count):
            yield f"{VERSION} {number} ".ljust(size - 1, ".")[: size - 1] + "\n"
            await asyncio.sleep(pause_ms / 1000)

    @bentoml.api
    def digest(self, file: Path) -> Receipt:
        """Length and digest of an uploaded file."""
        data = file.read_bytes()
        return Receipt(version=VERSION, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    @bentoml.task
    def report(self, text: str, seconds: Annotated[float, Ge(0), Le(60)] = 0.0) -> Report:
        """Counts words and letters, taking at least so many seconds."""
        time.sleep(seconds)
        letters = sum(character.isalpha() for character in text)
        return Report(version=VERSION, words=len(text.split()), letters=letters)
