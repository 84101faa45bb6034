"""Small JSON documents on disk that others may read at any moment: written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import structlog

_log = structlog.get_logger()


def note(path: Path, document: Any) -> None:
    """Writes what its writer must not fail over: on a full disk the old one stays, and that is logged."""
    try:
        write(path, document)
    except OSError as error:
        _log.error("note_not_written", path=str(path), error=str(error))


def write(path: Path, document: Any, *, durable: bool = False) -> None:
    """Replaces `path` (mode 0600) by `document`; a reader sees the old or the new one, a crash leaves one.

    `durable` also survives a loss of power. The name beside it is fixed: one writer a file.
    """
    write_bytes(path, orjson.dumps(document), durable=durable)


def write_bytes(path: Path, body: bytes, *, durable: bool = False) -> None:
    """The same for bytes."""
    beside = path.with_name(path.name + ".new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(body)
        file.flush()
        if durable:
            os.fsync(fd)
    beside.replace(path)


def read(path: Path) -> Any | None:
    """The document, or None where there is none. Raises ValueError where it is no JSON."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
