"""Signs the heads of audit chains and keeps them in DATA_DIR/audit, outside Redis; it judges no chain."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import structlog

from router.audit import signing
from router.audit.chain import statement
from router.audit.signing import Signer

FOLDER = "audit"
HEADS = "heads.jsonl"
LIMIT_BYTES = 16 << 20
"""Size at which a file of heads is put aside; the new one begins with the last head of every chain."""
KEPT = 8

log = structlog.get_logger(__name__)


class Notary:
    """One process' hand on the folder; processes of one host share key and file.

    `fresh`: the key was made just now, so nothing that stands in Redis was signed here. Raises OSError where the
    folder cannot be used, ValueError where the key is none.
    """

    def __init__(self, data_dir: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = data_dir / FOLDER
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._limit = limit_bytes
        self._signer, self.fresh = signing.own(self._folder)
        self._guard = threading.Lock()
        self._torn = False  # the file ends within a line: its disk was full
        self._fd = self._opened()
        self._last: dict[str, int] | None = None
        self._written = self._synced = 0
        self._syncing: asyncio.Task[None] | None = None

    @property
    def key(self) -> Signer:
        """The key of this host."""
        return self._signer

    def trusted(self) -> dict[str, bytes]:
        """The raw public keys whose signatures count, by id: this host's, and those in `trusted/`."""
        return signing.trusted(self._folder, self._signer)

    def sign(self, chain: str, seq: int, digest: str, time: str) -> bytes:
        """The signed head as the line that is kept; `time` is RFC 3339."""
        head: dict[str, Any] = {
            "chain": chain,
            "seq": seq,
            "hash": digest,
            "time": time,
            "key": self._signer.id,
        }
        signature = self._signer.sign(statement(head))
        return orjson.dumps(head | {"sig": base64.b64encode(signature).decode()})

    def keep(self, line: bytes) -> None:
        """Appends a signed head; on disk once `synced` returns. It never raises: what it tells of has happened."""
        try:
            with self._guard, self._locked():
                if not self._current():
                    os.close(self._fd)
                    self._fd = self._opened()
                self._append(line)
        except OSError as error:
            log.error("audit_head_lost", error=str(error), head=line.decode())
            return
        self._written += 1
        if self._last is not None:
            _note(self._last, line)
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def synced(self, seconds: float = 2.0) -> bool:
        """Waits until all that was kept before lies on the disk; False where it did not within `seconds`."""
        wanted = self._written
        try:
            async with asyncio.timeout(seconds):
                while self._synced < wanted and self._syncing is not None:
                    await asyncio.shield(self._syncing)
                    if self._syncing.done() and self._synced < wanted:
                        return False
        except TimeoutError:
            log.warning("audit_heads_slow", seconds=seconds)
            return False
        return True

    def last(self) -> dict[str, int]:
        """The number of the last head of each chain, as far as this process knows the present file."""
        if self._last is None:
            found: dict[str, int] = {}
            for line in (self._folder / HEADS).read_bytes().splitlines():
                _note(found, line)
            self._last = found
        return self._last

    def heads(self) -> list[bytes]:
        """Every line that is kept, the oldest file first."""
        with self._guard, self._locked():
            return [line for path in self._files() for line in path.read_bytes().splitlines()]

    def close(self) -> None:
        """Closes the file."""
        with self._guard:
            os.close(self._fd)

    def _append(self, line: bytes) -> None:
        whole = (b"\n" if self._torn else b"") + line + b"\n"
        written = os.write(self._fd, whole)
        self._torn = written < len(whole)
        if self._torn:
            raise OSError(f"{written} of {len(whole)} bytes were written")

    async def _sync(self) -> None:
        while self._synced < self._written:
            reached = self._written
            try:
                await asyncio.to_thread(self._flush)
            except OSError as error:
                log.error("audit_heads_unsynced", error=str(error))
                return
            self._synced = reached

    def _flush(self) -> None:
        with self._guard:
            descriptor = os.dup(self._fd)  # another may take its place meanwhile
        try:
            os.fsync(descriptor)
            full = os.fstat(descriptor).st_size > self._limit
        finally:
            os.close(descriptor)
        if full:
            with self._guard, self._locked():
                if self._current():
                    self._turn()

    def _turn(self) -> None:
        """Puts the file aside and begins a new one; the oldest beyond the bound goes."""
        *older, present = self._files()
        number = int(older[-1].stem.partition("-")[2]) + 1 if older else 1
        last: dict[str, tuple[int, bytes]] = {}
        for line in present.read_bytes().splitlines():
            head = _read(line)
            if head is not None and head[1] >= last.get(head[0], (0, b""))[0]:
                last[head[0]] = (head[1], line)
        new = self._folder / f"{HEADS}.new"
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, b"".join(line + b"\n" for _, line in last.values()))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.link(present, self._folder / f"heads-{number:08d}.jsonl")
        os.replace(new, present)  # there is a file of this name at every moment
        for path in older[: max(0, len(older) + 1 - KEPT)]:
            path.unlink()
        self._sync_folder()
        os.close(self._fd)
        self._fd = self._opened()

    def _files(self) -> list[Path]:
        return [*sorted(self._folder.glob("heads-*.jsonl")), self._folder / HEADS]

    def _opened(self) -> int:
        path = self._folder / HEADS
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # a line that was cut short by a crash stays one of its own
        self._sync_folder()
        return descriptor

    def _current(self) -> bool:
        """Whether the open file is still the one of this name: another process may have put it aside."""
        try:
            return os.stat(self._folder / HEADS).st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return False

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Against other processes of this host."""
        descriptor = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def open_notary(data_dir: Path) -> Notary | None:
    """The notary of a data directory; None, and an error in the log, where none is to be had.

    Then changes go on unsigned, which every verification shows: who must roll back now is not kept from it.
    """
    try:
        return Notary(data_dir)
    except (OSError, ValueError) as error:
        log.error("audit_unsigned", error=str(error))
        return None


def _read(line: bytes) -> tuple[str, int] | None:
    """Chain and number of a kept head; None for a line that a crash cut short."""
    try:
        head = orjson.loads(line)
        return str(head["chain"]), int(head["seq"])
    except (ValueError, KeyError, TypeError):
        return None


def _note(last: dict[str, int], line: bytes) -> None:
    head = _read(line)
    if head is not None:
        last[head[0]] = max(head[1], last.get(head[0], 0))
