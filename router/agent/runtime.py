"""Which kind of process runs a version: our launcher for ONNX artifacts, BentoML's own for users' bentos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.agent.bento_process import BentoProcess
from router.agent.place import Place
from router.agent.process import Process
from router.agent.replica_process import ReplicaProcess
from router.settings import Settings


def start(
    replica_id: str, document: Mapping[str, Any], place: Place, life_fd: int, settings: Settings
) -> ReplicaProcess:
    """Starts a replica; raises OSError where no process can be made."""
    if document.get("runtime") == "bento":
        return BentoProcess.begin(
            replica_id, document, place, life_fd=life_fd, build_s=settings.environment_timeout_s
        )
    return ReplicaProcess.start(
        replica_id, document, place, life_fd=life_fd, threads=settings.replica_threads
    )


def adopted(replica_id: str, document: Mapping[str, Any], place: Place, process: Process) -> ReplicaProcess:
    """A replica that an earlier agent started."""
    if document.get("runtime") == "bento":
        return BentoProcess(replica_id, place, process, document, Settings().environment_timeout_s)
    return ReplicaProcess(replica_id, place, process)
