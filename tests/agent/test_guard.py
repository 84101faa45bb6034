"""The guard and a command that knows nothing of it: they go together, whatever ends first and however."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.waiting import alive, until

# Says its pid, and ignores SIGTERM if told so.
COMMAND = """
import os, signal, sys, time
if sys.argv[2:] == ['deaf']: signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + '.new', 'w').write(str(os.getpid()))
os.rename(sys.argv[1] + '.new', sys.argv[1])
while True: time.sleep(60)
"""


class Guarded:
    """A guard with its command; `parent` stands for `up` and holds the writing end of the pipe."""

    def __init__(self, folder: Path, *extra: str, options: tuple[str, ...] = ()) -> None:
        self.noted = folder / f"pid{len(list(folder.iterdir()))}"
        self.life, self.end = os.pipe()
        argv = [sys.executable, "-m", "router.agent.guard", "--life-fd", str(self.life), *options, "--"]
        argv += [sys.executable, "-c", COMMAND, str(self.noted), *extra]
        self.guard = subprocess.Popen(argv, pass_fds=(self.life,), start_new_session=True)

    @property
    def pid(self) -> int:
        return until(lambda: int(self.noted.read_text()))

    def close(self) -> None:
        for fd in (self.life, self.end):
            if fd >= 0:
                os.close(fd)
        self.guard.wait(5)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    found = Guarded(tmp_path)
    yield found
    found.close()


def test_the_end_of_the_pipe_ends_the_command(guarded: Guarded) -> None:
    pid = guarded.pid
    os.close(guarded.end)
    guarded.end = -1
    assert guarded.guard.wait(3) == 128 + signal.SIGTERM
    assert not alive(pid)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_command_that_does_not_listen_is_gone_within_three_seconds(tmp_path: Path, stopped: bool) -> None:
    found = Guarded(tmp_path, "deaf")
    pid = found.pid
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    os.close(found.end)
    found.end = -1
    assert found.guard.wait(5) == 128 + signal.SIGKILL
    assert time.monotonic() - began < 3
    assert not alive(pid)
    found.close()


def test_a_killed_guard_takes_the_command_along(guarded: Guarded) -> None:
    pid = guarded.pid
    guarded.guard.kill()
    until(lambda: not alive(pid), 1)


def test_a_kill_9_of_the_parent_ends_guard_and_command(tmp_path: Path) -> None:
    """The parent is a process of its own here, and nobody tells the guard anything."""
    noted = tmp_path / "pid"
    code = """
import os, subprocess, sys, time
life, end = os.pipe()
argv = [sys.executable, '-m', 'router.agent.guard', '--life-fd', str(life), '--', sys.executable, '-c']
guard = subprocess.Popen(argv + sys.argv[1:], pass_fds=(life,), start_new_session=True)
print(guard.pid, flush=True)
time.sleep(60)
"""
    argv = [sys.executable, "-c", code, COMMAND, str(noted), "deaf"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        guard = int(parent.stdout.readline())
        pid = until(lambda: int(noted.read_text()))
        parent.kill()
        until(lambda: not alive(pid) and not alive(guard), 3)


def test_signals_and_status_pass_through(guarded: Guarded) -> None:
    pid = guarded.pid
    guarded.guard.send_signal(signal.SIGINT)  # Ctrl-C is for `up` alone
    with pytest.raises(subprocess.TimeoutExpired):
        guarded.guard.wait(0.2)
    assert alive(pid)
    guarded.guard.send_signal(signal.SIGTERM)
    assert guarded.guard.wait(3) == 128 + signal.SIGTERM
    assert not alive(pid)


def test_its_status_is_the_commands() -> None:
    life, end = os.pipe()
    base = [sys.executable, "-m", "router.agent.guard", "--life-fd", str(life), "--"]
    for command, status in ((["sh", "-c", "exit 7"], 7), (["/no/such/program"], 127)):
        done = subprocess.run([*base, *command], pass_fds=(life,), stderr=subprocess.PIPE, timeout=5)
        assert done.returncode == status
    assert b"/no/such/program" in done.stderr
    assert subprocess.run(base[:-1], stderr=subprocess.PIPE, timeout=5).returncode == 2
    os.close(life)
    os.close(end)


def test_what_the_command_started_goes_with_it(tmp_path: Path) -> None:
    life, end = os.pipe()
    noted = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {noted}; exit 0"
    argv = [sys.executable, "-m", "router.agent.guard", "--life-fd", str(life), "--", "sh", "-c", script]
    assert subprocess.run(argv, pass_fds=(life,), timeout=5).returncode == 0
    until(lambda: not alive(int(noted.read_text())), 1)
    os.close(life)
    os.close(end)


def test_even_what_made_itself_a_session_of_its_own(tmp_path: Path) -> None:
    """As BentoML's workers do: when their arbiter is killed, no process group leads to them."""
    life, end = os.pipe()
    noted = tmp_path / "pid"
    script = f"setsid sleep 60 & setsid sh -c 'setsid sleep 60 & echo $! > {noted}.2; sleep 60' & "
    script += f"echo $! > {noted}; until test -s {noted}.2; do sleep 0.01; done; kill -9 $$"
    argv = [sys.executable, "-m", "router.agent.guard", "--life-fd", str(life), "--name", "x", "--"]
    done = subprocess.run([*argv, "sh", "-c", script], pass_fds=(life,), timeout=5)
    assert done.returncode == 128 + signal.SIGKILL
    assert not alive(int(noted.read_text()))
    assert not alive(int((tmp_path / "pid.2").read_text()))
    os.close(life)
    os.close(end)


def test_a_second_command_waits_for_the_lock_of_the_first(tmp_path: Path) -> None:
    options = ("--lock", str(tmp_path / "lock"))
    first = Guarded(tmp_path, options=options)
    pid = first.pid
    second = Guarded(tmp_path, options=options)
    with pytest.raises(subprocess.TimeoutExpired):
        second.guard.wait(0.3)
    assert not second.noted.exists()
    os.kill(pid, signal.SIGKILL)
    assert second.pid != pid
    first.close()
    second.close()
