"""A process is known by pidfd and start time: its end is seen, its status kept, a stranger never touched."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from router.agent.process import Process, start_ticks
from tests.agent.waiting import alive, until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def start(argv: list[str], folder: Path, *, dies_with_us: bool = False) -> Process:
    return Process.start(argv, env=os.environ, log=folder / "log", dies_with_us=dies_with_us)


def test_status_and_output_are_kept(tmp_path: Path) -> None:
    async def scene() -> list[int | None]:
        found = []
        for script in ("echo hello; exit 3", "kill -9 $$"):
            process = start(["sh", "-c", script], tmp_path)
            assert await process.wait(5)
            found.append(process.exited.result())
        return found

    assert asyncio.run(scene()) == [3, 128 + 9]
    assert (tmp_path / "log").read_text() == "hello\n"


def test_end_is_gentle_first(tmp_path: Path) -> None:
    async def scene() -> None:
        kind = start(SLEEP, tmp_path)
        assert await kind.end(5)
        deaf = start(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"], tmp_path)
        while "deaf" not in (tmp_path / "log").read_text():
            await asyncio.sleep(0.005)
        assert not await deaf.end(0.1)
        assert deaf.exited.result() == 128 + signal.SIGKILL
        deaf.send(signal.SIGTERM)  # to nobody

    asyncio.run(scene())


def test_only_the_noted_process_is_adopted() -> None:
    async def scene(other: subprocess.Popen[bytes], ticks: int) -> None:
        assert Process.adopt(other.pid, ticks - 1) is None
        adopted = Process.adopt(other.pid, ticks)
        assert adopted is not None
        assert not await adopted.wait(0.05)
        other.kill()
        assert await adopted.wait(5)
        assert adopted.exited.result() is None
        assert other.wait(5) == -signal.SIGKILL
        assert start_ticks(other.pid) is None
        assert Process.adopt(other.pid, ticks) is None

    with subprocess.Popen(SLEEP) as other:
        ticks = start_ticks(other.pid)
        assert ticks is not None
        asyncio.run(scene(other, ticks))


def test_a_stopped_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, sys
from pathlib import Path
from router.agent.process import Process
async def main():
    process = Process.start({SLEEP!r}, env=os.environ, log=Path({str(tmp_path / "log")!r}), dies_with_us=True)
    print(process.pid, flush=True)
    await process.exited
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
    until(lambda: not alive(pid), 2)
