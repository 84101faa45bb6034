"""What a router knows, as one document on disk: the last good table, so that it starts with Redis dead."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import structlog

from router.documents import ModelState, Replica, Version

log = structlog.get_logger(__name__)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A revision with all its models and the version documents a table needs."""

    revision: int
    models: tuple[ModelState, ...]
    versions: tuple[Version, ...]


class _Local(msgspec.Struct, frozen=True):
    replicas: tuple[Replica, ...] = ()


def save(path: Path, snapshot: Snapshot) -> None:
    """Writes atomically (0600); the old file stays whole whatever happens. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(msgspec.json.encode(snapshot))
    partial.chmod(0o600)
    partial.replace(path)


def load(path: Path) -> Snapshot | None:
    """The last good table; None where there is none. A file that cannot be read is put aside, and said so."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Snapshot)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        aside = path.with_name(f"{path.name}.corrupt-{int(time.time())}")
        path.replace(aside)
        log.error("last_good_table_corrupt", error=str(error), kept_as=aside.name)
        return None


def local_replicas(path: Path) -> tuple[Replica, ...] | None:
    """What the agent of this host last wrote about its replicas; None where nothing (or nonsense) stands."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Local).replicas
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.error("local_replicas_unreadable", error=str(error))
        return None
