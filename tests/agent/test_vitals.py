"""What the kernel says of real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil

from router.agent.vitals import descendants, vitals, working
from tests.agent.waiting import until

TREE = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"


def test_a_tree_is_summed_and_a_stopped_one_in_it_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", TREE]) as parent:
        (child,) = until(lambda: descendants(parent.pid))
        try:
            one, both = vitals(parent.pid), vitals(parent.pid, tree=True)
            assert one is not None
            assert both is not None
            rss = psutil.Process(parent.pid).memory_info().rss
            assert abs(one.rss - rss) < 4 << 20
            assert both.rss > one.rss
            assert not both.stopped
            os.kill(child, signal.SIGSTOP)
            until(lambda: (found := vitals(parent.pid, tree=True)) is not None and found.stopped)
            until(lambda: not working(parent.pid, tree=True))
        finally:
            os.kill(child, signal.SIGKILL)
            parent.wait(10)
    assert vitals(parent.pid) is None


def test_cpu_and_work_are_seen() -> None:
    before = vitals(os.getpid())
    assert before is not None

    def used() -> bool:
        sum(range(100_000))
        now = vitals(os.getpid())
        return now is not None and now.cpu_s > before.cpu_s

    until(used)
    assert working(os.getpid())
