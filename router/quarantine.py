"""Where broken files go: moved aside, with time and reason, bounded in number and bytes; it judges no file."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from router.clock import rfc3339

FOLDER = "quarantine"
MOST_FILES = 32
MOST_BYTES = 256 << 20
WHY = ".why.json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was put aside. `file` is where it stood, `size` in bytes with all that is in it."""

    path: Path
    time: str
    file: str
    reason: str
    size: int

    def document(self) -> dict[str, Any]:
        """As `status` tells it."""
        return {
            "time": self.time,
            "file": self.file,
            "reason": self.reason,
            "kept_as": self.path.name,
            "bytes": self.size,
        }


def put_aside(path: Path, reason: str, data_dir: Path | None = None) -> Path | None:
    """Moves `path`, whatever it is, to `DATA_DIR/quarantine`; its new place. It never raises.

    None where it was gone already, or where it cannot be moved: then it stays, and the log says so. Without
    `data_dir` the folder that holds it is taken.
    """
    folder = (path.parent if data_dir is None else data_dir) / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        target = _free(folder, path.name)
        # A rename needs no right to read; where it leads to another file system, copying does.
        shutil.move(path, target)
    except FileNotFoundError:
        return None
    except (OSError, shutil.Error) as error:
        log.error("quarantine_failed", file=str(path), reason=reason, error=str(error))
        return None
    _say(target, str(path), reason)
    log.error("file_quarantined", file=str(path), reason=reason, kept_as=str(target))
    _bound(folder)
    return target


def keep_bytes(name: str, data: bytes, reason: str, file: Path, data_dir: Path) -> Path | None:
    """Copies broken bytes of `file`, which stays where it is, under `name`. None where that was done before, or
    cannot be. It never raises.
    """
    folder = data_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if any(folder.glob(f"*Z-{name}")):
            return None
        target = _free(folder, name)
        target.write_bytes(data)
    except OSError as error:
        log.error("quarantine_failed", file=str(file), reason=reason, error=str(error))
        return None
    _say(target, str(file), reason)
    _bound(folder)
    return target


def items(data_dir: Path) -> list[Item]:
    """What lies in the quarantine of `data_dir`, oldest first."""
    folder = data_dir / FOLDER
    try:
        names = sorted(name for name in os.listdir(folder) if not name.endswith(WHY))
    except OSError:  # none yet, or a file in its place
        return []
    return [_item(folder / name) for name in names]


def _item(path: Path) -> Item:
    stamp, _, name = path.name.partition("-")
    said: Any = None
    try:
        said = orjson.loads(_why(path).read_bytes())
    except (OSError, ValueError):
        log.debug("quarantine_without_reason", file=path.name)
    if not isinstance(said, dict):
        said = {}
    return Item(
        path,
        str(said.get("time", stamp)),
        str(said.get("file", name)),
        str(said.get("reason", "unknown")),
        _size(path),
    )


def _free(folder: Path, name: str) -> Path:
    """A name that sorts by time."""
    while True:
        now = time.time_ns()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
        target = folder / f"{stamp}.{now % 10**9 // 1000:06d}Z-{name}"
        if not os.path.lexists(target):
            return target


def _say(target: Path, file: str, reason: str) -> None:
    body = {"time": rfc3339(time.time()), "file": file, "reason": reason}
    try:
        _why(target).write_bytes(orjson.dumps(body))
    except OSError as error:  # the disk may be full: the file itself was moved all the same
        log.error("quarantine_failed", file=file, reason=reason, error=str(error))


def _why(path: Path) -> Path:
    return path.with_name(path.name + WHY)


def _bound(folder: Path) -> None:
    """Removes the oldest until number and bytes are within their bounds; even the last one is cut to them."""
    found = items(folder.parent)
    total = sum(item.size for item in found)
    left = len(found)
    for item in found:
        if left <= MOST_FILES and total <= MOST_BYTES:
            return
        if left == 1 and item.path.is_file() and not item.path.is_symlink():
            os.truncate(item.path, MOST_BYTES)
            return
        _remove(item.path)
        left -= 1
        total -= item.size


def _remove(path: Path) -> None:
    for each in (path, _why(path)):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum((Path(top) / name).lstat().st_size for top, _, names in os.walk(path) for name in names)
    except OSError:  # another process was faster
        return 0
