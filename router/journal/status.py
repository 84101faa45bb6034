"""What the log process tells about itself: to a file each second, and to Redis when it is there."""

import os
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True)
class Status:
    """One look at the log process; sizes in bytes, `time` RFC 3339 UTC, `lag` by incarnation if any."""

    time: str
    node: str
    pid: int
    lag_bytes: int
    lag: dict[str, int]
    shipped_bytes: int
    kept_bytes: int
    limit_bytes: int
    unread_trimmed: int
    corrupt_bytes: int
    trouble: str | None

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(self)


def status_key(node: str) -> str:
    """Where a host's log process tells its state in Redis."""
    return f"{{pm}}:shipper:{node}"


def write(path: Path, status: Status) -> None:
    """Replace the file in one step; a reader sees the old or the new one whole. OSError as the disk gives it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(status.encode())
    os.replace(draft, path)
