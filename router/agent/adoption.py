"""Finds the replicas that an earlier agent of the same `up` left running; starts and stops none."""

from __future__ import annotations

from typing import Any

import msgspec
import psutil
import structlog

from router.agent import snapshot
from router.agent.place import Place
from router.agent.process import Process, start_ticks
from router.agent.replica_process import tidy
from router.agent.running import Running
from router.agent.runtime import adopted
from router.documents import Replica
from router.quarantine import put_aside

_log = structlog.get_logger()


def adopt(place: Place, began: float, since: str) -> list[tuple[Running, Replica | None]]:
    """Every replica that still runs, with what was last told of it; files of the others are removed.

    Those that served go on to be ready: whether they still answer is seen by the next look. Others count as
    starting until they answer, except those that were on their way out.
    """
    found = []
    for path in sorted(place.replica_files.glob("*.json")):
        if path.name.endswith(".doc.json"):
            continue
        try:
            noted: Any = snapshot.read(path)
            if noted["id"] != path.stem:
                raise ValueError(f"it is the note of {noted['id']!r}")
            running = _adopt(noted, place, began, since)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
            _log.error("replica_file_unreadable", path=str(path), error=str(error))
            put_aside(path, f"it cannot be read: {type(error).__name__}: {error}", place.data_dir)
            continue
        if running is None:
            tidy(noted["id"], place)
            path.unlink(missing_ok=True)
            path.with_suffix(".doc.json").unlink(missing_ok=True)
        else:
            found.append(running)
    return found


def _adopt(noted: Any, place: Place, began: float, since: str) -> tuple[Running, Replica | None] | None:
    replica_id = noted["id"]
    # Without a noted process the agent died between its start and the note: its command line tells.
    where = (noted.get("started") or [_search(replica_id)])[0]
    document = snapshot.read(place.replica_files / f"{replica_id}.doc.json")
    process = None if where is None or document is None else Process.adopt(where[0], where[1])
    if process is None or document is None:
        return None
    told = msgspec.convert(noted["replica"], Replica) if "replica" in noted else None
    running = Running(
        id=replica_id,
        key=(document["model"], document["version"]),
        digest=document["digest"],
        process=adopted(replica_id, document, place, process),
        phase=told.state if told is not None and told.state != "failed" else "starting",
        began=began,
        since=since if told is None else told.since,
        replaced=None if told is None else told.replaced,
    )
    return running, told


def _search(replica_id: str) -> list[int] | None:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if replica_id in command and ("services.launch" in command or "router.agent.guard" in command):
            ticks = start_ticks(process.pid)
            return None if ticks is None else [process.pid, ticks]
    return None
