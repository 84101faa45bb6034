"""One operating-system process by its pidfd, child or not: signals, waits, its end; starts it, decides nothing.

A pidfd names a process for good, so no signal can reach a stranger that was given a used pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from router.agent import prctl


def start_ticks(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot (immune to clock steps); None: no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(b")")[2].split()[19])  # proc(5), field 22


def open_log(path: Path) -> int:
    """A log opened for appending, so that it may be cut while a process writes to it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _die_with(parent: int) -> None:
    prctl.signal_at_parents_death(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class Process:
    """A handle on a running process; needs a running event loop. Ends with `close`, or by itself at its exit."""

    def __init__(self, pid: int, *, child: bool = False) -> None:
        """Opens `pid`; raises ProcessLookupError where there is none. A `child` of ours is reaped as well."""
        self.pid = pid
        self.started = time.monotonic()
        self._child = child
        self._fd = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int | None] = self._loop.create_future()
        self._loop.add_reader(self._fd, self.collect)

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        fds: Iterable[int] = (),
        dies_with_us: bool = False,
        cwd: Path | None = None,
    ) -> Process:
        """Starts `argv` in its own session with only `fds` beside stdin (empty), stdout and stderr (`log`).

        With `dies_with_us` the kernel kills it when this thread ends: also one that is stopped or stuck, and
        so reads no pipe.
        """
        out = open_log(log)
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(env),
                cwd=cwd,
                pass_fds=tuple(fds),
                start_new_session=True,
                preexec_fn=partial(_die_with, os.getpid()) if dies_with_us else None,
            )
        finally:
            os.close(out)
        child.returncode = 0  # the pidfd reaps it, not Popen
        return cls(child.pid, child=True)

    @classmethod
    def adopt(cls, pid: int, ticks: int) -> Process | None:
        """The process `pid` that started at `ticks`; None where it is gone or the pid is another's now."""
        try:
            process = cls(pid)
        except ProcessLookupError:
            return None
        if start_ticks(pid) != ticks:  # asked after the pidfd was opened: no race with reuse
            process.close()
            return None
        return process

    @property
    def running(self) -> bool:
        """Whether its end has not been seen yet."""
        return not self.exited.done()

    def send(self, number: int) -> None:
        """Sends a signal; nothing happens where the process has ended."""
        if self._fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    async def wait(self, timeout: float) -> bool:
        """Whether it ended within `timeout` seconds."""
        if not self.running:
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.exited), timeout)
        return not self.running

    async def end(self, grace: float) -> bool:
        """SIGTERM, and SIGKILL after `grace` seconds; True where SIGTERM was enough. Returns when it is gone."""
        self.send(signal.SIGTERM)
        if await self.wait(grace):
            return True
        self.send(signal.SIGKILL)
        await self.wait(5.0)  # only uninterruptible disk waits outlive this
        return False

    def collect(self) -> None:
        """Notes the end of the process, and reaps it where it is our child; its status is 128 + n for signal n."""
        status: int | None = None
        if self._child:
            with contextlib.suppress(ChildProcessError):
                found = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
                if found is None:
                    return
                signalled = found.si_code != os.CLD_EXITED
                status = 128 + found.si_status if signalled else found.si_status
        self.close()
        if not self.exited.done():
            self.exited.set_result(status)

    def close(self) -> None:
        """Lets go of the process without ending it."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
