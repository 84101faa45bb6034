"""Bounds the log files of processes that do not do it themselves; reads none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

LOG_BYTES = 64 << 20
REPLICA_LOG_BYTES = 8 << 20
REPLICA_LOGS = 100


def cut(log: Path, limit: int) -> None:
    """Moves the content of a log over `limit` bytes to `.1`. Writers append, so they go on at its new start.

    What is written between copy and cut is lost; operational logs bear that.
    """
    try:
        if log.stat().st_size <= limit:
            return
    except FileNotFoundError:
        return
    with log.open("rb") as old, log.with_name(log.name + ".1").open("wb") as kept:
        shutil.copyfileobj(old, kept, 1 << 20)
    os.truncate(log, 0)


def replica_log(folder: Path, replica_id: str) -> Path:
    """Where a replica's stdout and stderr go."""
    return folder / f"replica-{replica_id}.log"


def bound_replica_logs(folder: Path, running: Collection[Path]) -> None:
    """Cuts the logs of running replicas, and keeps the hundred youngest of those that have ended."""
    for log in running:
        cut(log, REPLICA_LOG_BYTES)
    ended = [log for log in folder.glob("replica-*.log*") if log.with_suffix(".log") not in running]
    ended.sort(key=lambda log: log.stat().st_mtime, reverse=True)
    for log in ended[REPLICA_LOGS:]:
        log.unlink(missing_ok=True)
