"""What a router knows, as one document on disk: the last good table, so that it starts with Redis dead."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from router.access.key import Key
from router.documents import ModelState, Replica, Version
from router.quarantine import put_aside

FORMAT = 1
"""Raised when an older router would misread the file. One that it can read wrongly is worse than none."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A revision with all its models, the version documents a table needs, and the keys (digests, no secrets)."""

    revision: int
    models: tuple[ModelState, ...]
    versions: tuple[Version, ...]
    format: int = FORMAT
    keys: tuple[Key, ...] = ()


class _Local(msgspec.Struct, frozen=True):
    replicas: tuple[Replica, ...]


def save(path: Path, snapshot: Snapshot) -> None:
    """Writes atomically (0600); the old file stays whole whatever happens. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(msgspec.json.encode(snapshot))
        partial.chmod(0o600)
        if path.is_dir():
            put_aside(path, "a folder stands where the last good table belongs")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)  # half of it would only take the room that a full disk has not
        raise


def load(path: Path) -> Snapshot | None:
    """The last good table; None where there is none. What cannot be read is put aside, and that is logged."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Snapshot)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as error:
        put_aside(path, f"it cannot be read: {error}")
        return None
    if found.format > FORMAT:
        put_aside(path, f"it is of format {found.format}, this version reads up to {FORMAT}")
        return None
    return found


def local_replicas(path: Path, data_dir: Path | None = None) -> tuple[Replica, ...] | None:
    """What the agent of this host last wrote about its replicas; None where nothing (or nonsense) stands.

    Nonsense is put aside: the agent writes the whole file anew at its next change.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Local).replicas
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as error:
        put_aside(path, f"it cannot be read: {error}", data_dir)
        return None
