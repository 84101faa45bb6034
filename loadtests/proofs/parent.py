"""`up` itself: killed, it leaves nothing running; started again, it knows what it knew."""

from __future__ import annotations

import os
import signal
from time import monotonic
from typing import Any

from loadtests.fleet import Fleet, alive, wait_for
from loadtests.proofs.figures import Figures


def pids(status: dict[str, Any]) -> list[int]:
    """Every process a status names."""
    found = [status["redis"].get("pid"), status["agent"]["pid"]]
    found += [each["pid"] for each in status["routers"]] + [each["pid"] for each in status["replicas"]]
    return [pid for pid in found if pid]


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    import psutil

    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def killed(fleet: Fleet) -> Figures:
    """kill -9 of `up`: all of it is gone within 3 s; started again: same active version, same history."""
    fleet.promote("digits", "2")
    route = fleet.ask("GET", "/models/digits")["route"]
    history = fleet.ask("GET", "/models/digits/history")["history"]
    assert fleet.process is not None
    everything = set(tree(fleet.process.pid)) | set(pids(fleet.status()))
    began = monotonic()
    os.kill(fleet.process.pid, signal.SIGKILL)
    fleet.process.wait()
    wait_for(lambda: not any(map(alive, everything)), 3.0, lambda: str([p for p in everything if alive(p)]))
    gone = monotonic() - began
    restart = fleet.start()
    again = fleet.ask("GET", "/models/digits")["route"]
    assert again == route, (again, route)
    assert fleet.ask("GET", "/models/digits/history")["history"] == history
    return {
        "processes": len(everything),
        "all gone after s": round(gone, 2),
        "ready again after s": round(restart, 2),
        "history entries kept": len(history),
    }


def drained(fleet: Fleet) -> Figures:
    """SIGTERM: exit 0, nothing left."""
    assert fleet.process is not None
    everything = tree(fleet.process.pid)
    began = monotonic()
    status = fleet.stop(signal.SIGTERM, 30)
    took = monotonic() - began
    assert status == 0, status
    left = [pid for pid in everything if alive(pid)]
    assert not left, left
    return {"exit status": status, "stopped after s": round(took, 2), "left running": len(left)}
