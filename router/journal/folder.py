"""The journal's folders and files on disk: what there is, who is alive, bytes by offset; decides nothing."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from router.journal.segment import Fault, Line, file_name, is_incarnation, lines, parse_file_name

CHUNK = 1 << 20
"""Bytes read at a time. Not mmap: a writer that cuts a half-written batch off would kill a mapped reader."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment as it was when listed; `mtime` in seconds of the epoch."""

    incarnation: str
    number: int
    path: Path
    size: int
    mtime: float


class Lock:
    """The mark of a live incarnation: an flock on its folder, which the kernel drops with the process."""

    __slots__ = ("_fd",)

    def __init__(self, folder: Path, timeout_s: float = 1.0) -> None:
        """Make `folder` if needed and hold it; FileExistsError when somebody else does after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            folder.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Retention may have removed the empty folder between mkdir and flock.
                if _is_at(fd, folder):
                    self._fd = fd
                    return
            except BlockingIOError:
                # A reader that asks whether we live holds the lock for some microseconds.
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise FileExistsError(f"{folder} belongs to a running process") from None
                time.sleep(0.001)
            os.close(fd)

    def release(self) -> None:
        """Let go; the incarnation is dead from now on."""
        os.close(self._fd)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def alive(folder: Path) -> bool:
    """Whether a process holds the folder's lock; False for a folder that is gone.

    True for one that cannot be opened: what cannot be known must not be deleted.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def incarnations(root: Path) -> list[str]:
    """The names of all incarnation folders under `root`, sorted; empty when there is no root yet."""
    try:
        with os.scandir(root) as entries:
            folders = [e.name for e in entries if is_incarnation(e.name) and e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(folders)


def segments(root: Path, incarnation: str) -> list[SegmentFile]:
    """An incarnation's segments, oldest first; numbers may have gaps.

    All but the last have their final size and mtime: every name is read before the first file is looked at,
    and a segment with a successor is not written any more. What is no file is no segment.
    """
    try:
        names = os.listdir(root / incarnation)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    found = []
    for number in sorted(n for n in map(parse_file_name, names) if n is not None):
        path = segment_path(root, incarnation, number)
        try:
            status = path.lstat()
        except (FileNotFoundError, PermissionError):
            continue  # retention was faster
        if stat.S_ISREG(status.st_mode):
            found.append(SegmentFile(incarnation, number, path, status.st_size, status.st_mtime))
    return found


def total_bytes(root: Path) -> int:
    """The bytes of all segments under `root`."""
    return sum(s.size for name in incarnations(root) for s in segments(root, name))


def segment_path(root: Path, incarnation: str, number: int) -> Path:
    """Where a segment's file is."""
    return root / incarnation / file_name(number)


def read_lines(path: Path, offset: int, chunk: int = CHUNK) -> Iterator[Line | Fault]:
    """The lines of a file from `offset` (which begins a line) to its end at that time, in bounded memory.

    A torn end is yielded last; whether it still grows is the caller's knowledge. FileNotFoundError at the
    first step when the file is gone; once open it stays readable.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = chunk
        while len(data := os.pread(fd, size, offset)) == size:
            begin = offset
            for item in lines(data, offset):
                if isinstance(item, Fault) and item.kind == "torn":
                    break  # cut by the chunk, not by the writer
                offset = item.end
                yield item
            # A line longer than the chunk: read it with a larger one.
            size = chunk if offset > begin else size * 2
    finally:
        os.close(fd)
    # The last part is looked at with the file closed: many incarnations are read side by side.
    yield from lines(data, offset)


def read_line(path: Path, offset: int) -> Line | None:
    """The sound line at `offset`; None when there is none, or the file is gone or cannot be read."""
    try:
        first = next(read_lines(path, offset), None)
    except OSError:
        return None
    return first if isinstance(first, Line) else None


def search(path: Path, needle: bytes, start: int = 0) -> Iterator[int]:
    """The offsets of the lines that contain `needle` (no line feed in it), each once, in file order.

    A match in a line that begins before `start` is not reported when `start` begins a line.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size, offset = CHUNK, start
        while data := os.pread(fd, size, offset):
            complete = data.rfind(b"\n") + 1
            if complete == 0:
                if len(data) < size:
                    return
                size *= 2
                continue
            at = data.find(needle, 0, complete)
            while at >= 0:
                begin = data.rfind(b"\n", 0, at) + 1
                yield offset + begin
                after = data.find(b"\n", at) + 1
                at = data.find(needle, after, complete)
            offset += complete
            size = CHUNK
    finally:
        os.close(fd)
