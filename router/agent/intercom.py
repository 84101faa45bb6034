"""Questions between the processes of one host: JSON lines over a Unix socket; decides nothing.

A question is one line, an answer one line or several. The socket's folder is the
user's alone (0700).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import structlog

from router.halt import halt

LINE_BYTES = 1 << 20
QUESTION_S = 2.0

Question = dict[str, Any]
Answering = Callable[[Question], AsyncIterator[dict[str, Any]]]

_log = structlog.get_logger()


class Silent(Exception):
    """Nobody listens there, or the answer did not come, or broke off."""


@asynccontextmanager
async def listening(path: Path, answering: Answering) -> AsyncIterator[None]:
    """Answers questions at `path` while inside. `answering` is ended when its asker leaves or we do."""
    tasks: set[asyncio.Task[None]] = set()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve(reader, writer, answering))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also where it was ended before it began

    server = await asyncio.start_unix_server(take, path, limit=LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        await halt(lambda: tasks)


async def ask(path: Path, question: Question, silence_s: float) -> AsyncIterator[dict[str, Any]]:
    """Every line of the answer; raises Silent, also after `silence_s` seconds without a line."""
    try:
        async with asyncio.timeout(QUESTION_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_BYTES)
    except (OSError, TimeoutError) as error:
        raise Silent(f"{path.stem} does not answer: {error}") from error
    try:
        writer.write(orjson.dumps(question) + b"\n")
        while line := await _line(reader, silence_s, path.stem):
            yield line
    finally:
        writer.close()


async def ask_once(path: Path, question: Question, timeout_s: float = QUESTION_S) -> dict[str, Any]:
    """The first line of the answer; raises Silent."""
    async with aclosing(ask(path, question, timeout_s)) as lines:  # type: ignore[type-var]
        async for line in lines:
            return line
    raise Silent(f"{path.stem} gave no answer")


async def _line(reader: asyncio.StreamReader, silence_s: float, who: str) -> dict[str, Any]:
    """The next line; {} at the end. A last line without its end was cut off: that is silence, too."""
    try:
        async with asyncio.timeout(silence_s):
            line = await reader.readline()
    except (OSError, TimeoutError, ValueError) as error:
        raise Silent(f"{who} fell silent: {error or 'no answer in time'}") from error
    if line and not line.endswith(b"\n"):
        raise Silent(f"{who} broke off")
    return dict(orjson.loads(line)) if line else {}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answering: Answering) -> None:
    left: asyncio.Task[bytes] | None = None
    telling: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(QUESTION_S):
            question = orjson.loads(await reader.readline())
        left = asyncio.ensure_future(reader.read(1))  # ends when the asker leaves
        telling = asyncio.ensure_future(_tell(writer, answering(question)))
        await asyncio.wait({left, telling}, return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()
    except (OSError, TimeoutError, ValueError) as error:
        _log.info("question_broke", error=str(error))
    finally:
        await halt([task for task in (left, telling) if task is not None])
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _tell(writer: asyncio.StreamWriter, lines: AsyncIterator[dict[str, Any]]) -> None:
    async with aclosing(lines) as told:  # type: ignore[type-var]
        async for line in told:
            writer.write(orjson.dumps(line) + b"\n")
            await writer.drain()
