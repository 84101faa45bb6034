"""Real processes on a real pipe: whoever holds the other end ends, they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router.agent.lifeline import LOST


def child(code: str, fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, str(fd)], pass_fds=(fd,), stdout=subprocess.PIPE)


@pytest.mark.parametrize("callback", ["None", "lambda: print('bye', flush=True)", "lambda: time.sleep(60)"])
def test_a_process_with_a_stuck_main_thread_ends_with_the_pipe(callback: str) -> None:
    life, end = os.pipe()
    os.set_blocking(life, False)  # somebody who shares the pipe may do that
    code = f"""
import sys, time
from router.agent import lifeline
lifeline.watch(int(sys.argv[1]), {callback}, patience=0.5)
print('up', flush=True)
while True: time.sleep(60)
"""
    with child(code, life) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        began = time.monotonic()
        os.close(end)
        assert process.wait(3) == LOST
        assert time.monotonic() - began < 1.5
        assert process.stdout.read() == (b"bye\n" if "print" in callback else b"")
    os.close(life)


def test_a_callback_that_raises_does_not_keep_it_alive(tmp_path: Path) -> None:
    life, end = os.pipe()
    code = """
import sys, time
from router.agent import lifeline
lifeline.watch(int(sys.argv[1]), lambda: 1 / 0)
time.sleep(60)
"""
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen([sys.executable, "-c", code, str(life)], pass_fds=(life,), stderr=err)
    os.close(end)
    assert process.wait(5) == LOST
    assert "ZeroDivisionError" in (tmp_path / "err").read_text()
    os.close(life)
