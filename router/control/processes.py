"""What other processes of this host note about themselves in the runtime folder; reads only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import structlog

from router.agent.losses import FILE as LOSSES

PROCESSES = "processes.json"
SHIPPER = "shipper.json"

log = structlog.get_logger()


class _Router(msgspec.Struct):
    id: str
    pid: int | None = None


class _Processes(msgspec.Struct):
    up: int | None = None
    redis: dict[str, Any] = {}
    routers: list[_Router] = []
    agent: dict[str, Any] | None = None
    control: dict[str, Any] | None = None
    shipper: dict[str, Any] | None = None


class _Shipper(msgspec.Struct):
    lag_bytes: int = 0
    shipped_bytes: int = 0
    kept_bytes: int = 0
    limit_bytes: int = 0
    unread_trimmed: int = 0
    corrupt_bytes: int = 0


class _Losses(msgspec.Struct):
    losses: list[tuple[str, str, str, int]] = []


_FORMS: dict[str, type[msgspec.Struct]] = {PROCESSES: _Processes, SHIPPER: _Shipper, LOSSES: _Losses}


def noted(runtime_dir: Path, name: str) -> dict[str, Any]:
    """The note `name`, which is replaced atomically; {} where there is none, or a broken one: that is logged.

    Its writer replaces it whole at its next change, so nothing is put aside here.
    """
    try:
        found: dict[str, Any] = msgspec.json.decode((runtime_dir / name).read_bytes(), type=dict[str, Any])
        msgspec.convert(found, _FORMS[name])
    except FileNotFoundError:
        return {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as error:
        log.error("note_unreadable", path=str(runtime_dir / name), error=str(error))
        return {}
    return found
