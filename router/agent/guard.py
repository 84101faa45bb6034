"""Runs one foreign command that knows nothing of the pipe from `up`, and ends it with the pipe. Stdlib only.

`python -m router.agent.guard --life-fd N [--grace S] [--lock FILE] [--name TEXT] -- COMMAND…`
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import time
from dataclasses import dataclass

from router.agent import prctl

LOCK_WAIT_S = 5.0
ORPHANS_S = 1.0
USAGE = "usage: python -m router.agent.guard --life-fd N [--grace S] [--lock FILE] [--name TEXT] -- COMMAND…"


@dataclass(frozen=True, slots=True)
class Options:
    """The command and its bounds: `grace` seconds lie between SIGTERM and SIGKILL once the pipe has ended."""

    command: list[str]
    life_fd: int
    grace: float = 1.5
    lock: str | None = None


def parse(argv: list[str]) -> Options:
    """Options from the arguments; raises ValueError. (argparse alone would double the start-up time.)"""
    split = argv.index("--")
    names, values = argv[:split:2], argv[1:split:2]
    given = dict(zip(names, values, strict=True))
    given.pop("--name", None)  # for whoever reads the list of processes
    options = Options(
        command=argv[split + 1 :],
        life_fd=int(given.pop("--life-fd")),
        grace=float(given.pop("--grace", 1.5)),
        lock=given.pop("--lock", None),
    )
    if given or not options.command:
        raise ValueError(f"unknown {sorted(given)}" if given else "no command")
    return options


def main(argv: list[str]) -> int:
    """Runs the command; gives its exit status, 128 + n where signal n ended it."""
    try:
        options = parse(argv)
    except (ValueError, KeyError) as error:
        print(f"{USAGE}\n{error}", file=sys.stderr)
        return 2
    os.set_inheritable(options.life_fd, False)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Functions, not SIG_IGN: the command would inherit SIG_IGN through exec.
        signal.signal(number, lambda *_: None)
    if options.lock is not None and not _hold(options.lock, options.life_fd):
        print(f"{options.lock} is still held after {LOCK_WAIT_S} s", file=sys.stderr)
        return 1
    # Whatever the command starts becomes our child when its parent ends, also in a session of its own.
    prctl.become_subreaper()
    pid = _start(options.command)
    return _attend(pid, options, woken)


def _hold(path: str, life_fd: int) -> bool:
    """Locks `path` for this process and the command together: never two commands on one data folder."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(fd, True)
    poll = select.poll()
    poll.register(life_fd, select.POLLIN)
    deadline = time.monotonic() + LOCK_WAIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if poll.poll(20):
            return False
    return False


def _start(command: list[str]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        # SIGKILL: a command that hangs, or is stopped, must go as well.
        prctl.signal_at_parents_death(signal.SIGKILL)
        if os.getppid() == parent:  # else the guard died before it could be watched
            os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _attend(pid: int, options: Options, woken: int) -> int:
    """Waits for the command, the pipe's end and signals; returns the command's status."""
    process = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (process, options.life_fd, woken):
        poll.register(fd, select.POLLIN)
    deadline: float | None = None
    while True:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000 + 1
        ready = {fd for fd, _ in poll.poll(wait)}
        if process in ready:
            _, status = os.waitpid(pid, 0)
            _kill_group(pid)  # what the command itself had started
            _kill_orphans()
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if options.life_fd in ready:
            poll.unregister(options.life_fd)
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + options.grace
        if woken in ready and signal.SIGTERM in os.read(woken, 64):
            os.kill(pid, signal.SIGTERM)
        if deadline is not None and time.monotonic() >= deadline:
            _kill_group(pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _kill_orphans() -> None:
    """Ends all that is left of the command's descendants; the children of one killed come to us in turn."""
    deadline = time.monotonic() + ORPHANS_S
    while (found := _children()) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.002)


def _children() -> list[int]:
    """Pids of our children, those ended and not yet waited for among them."""
    mine, found = str(os.getpid()).encode(), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
                if stat.read().rpartition(b")")[2].split()[1] == mine:
                    found.append(int(name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
