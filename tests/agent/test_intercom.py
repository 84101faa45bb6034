"""Questions between processes: answers in lines, an end to every wait, nobody kept when somebody leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.agent.intercom import Silent, ask, ask_once, listening


def test_lines_come_as_they_are_told_and_end(home: Path) -> None:
    async def answering(question: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for number in range(question["count"]):
            yield {"number": number}

    async def scene() -> None:
        async with listening(home / "who.sock", answering):
            assert [line["number"] async for line in ask(home / "who.sock", {"count": 3}, 1)] == [0, 1, 2]
            assert await ask_once(home / "who.sock", {"count": 2}) == {"number": 0}
            with pytest.raises(Silent, match="no answer"):
                await ask_once(home / "who.sock", {"count": 0})
        with pytest.raises(Silent):
            await ask_once(home / "who.sock", {"count": 1})

    asyncio.run(scene())


def test_silence_has_an_end_on_both_sides(home: Path) -> None:
    ended = asyncio.Event()

    async def answering(_: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"first": True}
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def scene() -> None:
        async with listening(home / "who.sock", answering):
            with pytest.raises(Silent, match="fell silent"):
                _ = [line async for line in ask(home / "who.sock", {}, 0.1)]
            async with asyncio.timeout(5):
                await ended.wait()  # the asker has left
            ended.clear()
            lines = ask(home / "who.sock", {}, 5)
            assert await anext(lines) == {"first": True}
        assert ended.is_set()  # the listener has left
        assert [line async for line in lines] == []

    asyncio.run(scene())


def test_what_is_no_question_harms_nobody(home: Path) -> None:
    async def answering(_: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        yield {"fine": True}

    async def scene() -> None:
        async with listening(home / "who.sock", answering):
            reader, writer = await asyncio.open_unix_connection(home / "who.sock")
            writer.write(b"nonsense\n")
            assert await reader.read() == b""
            writer.close()
            assert await ask_once(home / "who.sock", {}) == {"fine": True}

    asyncio.run(scene())
