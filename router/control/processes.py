"""What other processes of this host note about themselves in the runtime folder; reads only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

PROCESSES = "processes.json"
SHIPPER = "shipper.json"


def noted(runtime_dir: Path, name: str) -> dict[str, Any]:
    """The note `name`, which is replaced atomically; {} where there is none. Raises ValueError if it is broken."""
    try:
        found = orjson.loads((runtime_dir / name).read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{name} holds no object")
    return found
