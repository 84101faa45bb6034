"""The pipe from `up`, a child's side: its end-of-file ends this process; decides nothing else. Stdlib only."""

from __future__ import annotations

import os
import select
import sys
import threading
import traceback
from collections.abc import Callable

LOST = 3
"""Exit status of a process whose `up` is gone."""


def watch(fd: int, on_eof: Callable[[], None] | None = None, *, patience: float = 1.0) -> None:
    """Ends this process when the pipe `fd` reaches its end, which is when `up` has ended, however it did.

    A daemon thread waits, so a stalled event loop cannot keep the process alive. `on_eof` is called on that
    thread first (hand over to a loop with `call_soon_threadsafe`); the process is gone `patience` seconds
    after the end-of-file at the latest, by `os._exit`: no clean-up of Python's own runs.
    The descriptor is made non-inheritable: a child that is to live by the same pipe gets it by `pass_fds`.
    """
    os.set_inheritable(fd, False)
    threading.Thread(target=_wait, args=(fd, on_eof, patience), name="lifeline", daemon=True).start()


def wait_for_end(fd: int) -> None:
    """Blocks until the pipe's end. Polls: somebody who shares the pipe may have made it non-blocking."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        poll.poll()
        try:
            if os.read(fd, 512) == b"":
                return
        except BlockingIOError:
            continue


def _wait(fd: int, on_eof: Callable[[], None] | None, patience: float) -> None:
    wait_for_end(fd)
    timer = threading.Timer(patience, os._exit, (LOST,))
    timer.daemon = True
    timer.start()
    try:
        if on_eof is not None:
            on_eof()
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(LOST)
