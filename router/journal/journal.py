"""Appends request records to this router's own segments, in one write a batch; never reads, never ships."""

import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from router.errors import Unavailable
from router.journal.folder import Lock, segment_path, segments, total_bytes
from router.journal.segment import check_incarnation, encode

OnFull = Literal["refuse", "serve"]

CREDIT = 4 << 20
"""Bytes a writer spends before it measures the root again: W writers may pass the bound by W times this."""

RETRY_S = 0.1
"""After a failure the disk is left alone this long: a refusal must be cheap and not make a file each time."""


def bound(limit_bytes: int) -> int:
    """Where writers refuse: an eighth above what retention keeps, so that it has time to delete."""
    return limit_bytes + limit_bytes // 8


class LogUnavailable(Unavailable):
    """The records were not stored, so their answers may not be given (503 `log_unavailable`)."""

    code = "log_unavailable"

    def __init__(self, reason: Literal["bound", "disk", "closed"], text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Journal:
    """The log of one router process; one thread only. Counters are read by the metrics.

    `directory` is the journal root of the host, shared by all its routers: `limit_bytes` counts all of it.
    `incarnation` must never have been used before (FileExistsError).
    """

    def __init__(
        self,
        directory: Path,
        incarnation: str,
        segment_bytes: int = 64 << 20,
        limit_bytes: int = 4 << 30,
        on_full: OnFull = "refuse",
        fsync_interval: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`fsync_interval` in seconds: None leaves it to the kernel (a crash of the machine, not of the
        process, may lose some 30 s), 0 syncs each batch, else at the first append after it and on `sync()`.
        """
        self.incarnation = check_incarnation(incarnation)
        self.root = Path(directory)
        self.dropped = 0
        self.appended = 0
        self.trouble: LogUnavailable | None = None
        self._on_full, self._fsync_interval = on_full, fsync_interval
        self._clock, self._wall_ns = clock, wall_ns
        self._bound = bound(limit_bytes)
        # Small limits need small segments: retention can delete closed ones only.
        self._segment_bytes = min(segment_bytes, max(limit_bytes // 32, 4096))
        self._lock = Lock(self.root / incarnation)
        self._fd = -1
        self._segment = -1
        self._offset = 0
        self._prefix = ""
        self._credit = 0
        self._retry_at = 0.0
        self._synced_at = clock()
        self._dirty = False
        self._closed = False
        self._second, self._stamp = -1, b""
        if segments(self.root, incarnation):
            self._lock.release()
            raise FileExistsError(f"incarnation {incarnation} has written before")

    def append(self, records: Sequence[dict[str, Any] | bytes]) -> list[str]:
        """Store `records` with one write and return their record ids, in order.

        A record is a dictionary, or a JSON object on one line that has no `time`; one without it gets the
        moment of writing. All or none is stored: when the write fails, what reached the file is cut off.
        LogUnavailable under `refuse`; under `serve` the records are counted in `dropped` and the answer is
        empty. TypeError for a value JSON does not have: nothing is stored then.
        """
        stamp = self._now()
        lines = []
        for record in records:
            if type(record) is bytes:
                lines.append(encode(b"%b,%b" % (stamp, record[1:])))
                continue
            body = orjson.dumps(record)
            if "time" not in record:
                body = stamp + (b"," if len(body) > 2 else b"") + body[1:]
            lines.append(encode(body))
        if not lines:
            return []
        try:
            return self._store(lines)
        except LogUnavailable as trouble:
            self.trouble = trouble
            if self._on_full == "refuse":
                raise
            self.dropped += len(records)
            return []

    def sync(self) -> None:
        """Flush to the disk what was appended since the last time; LogUnavailable when the disk fails."""
        self._synced_at = self._clock()
        if self._dirty and self._fd >= 0:
            self._dirty = False
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                # What the kernel could not write is gone from its cache: never trust this file again.
                self._leave()
                raise LogUnavailable("disk", f"the journal could not be flushed: {error}") from error

    def close(self) -> None:
        """Flush (where syncing is on), close, and declare the incarnation dead."""
        if self._closed:
            return
        self._closed = True
        self._credit = 0  # the next append asks for more and learns that it is too late
        try:
            if self._fsync_interval is not None:
                self.sync()
        finally:
            self._leave()
            self._lock.release()

    def _store(self, lines: list[bytes]) -> list[str]:
        blob = lines[0] if len(lines) == 1 else b"".join(lines)
        if self._credit < len(blob):
            self._renew_credit(len(blob))
        if self._fd < 0 or self._offset >= self._segment_bytes:
            self._rotate()
        start = self._offset
        written = self._write(blob)
        self._offset = start + written
        self._credit -= written
        self._dirty = True
        self.appended += len(lines)
        if self._fsync_interval is not None and self._clock() - self._synced_at >= self._fsync_interval:
            self.sync()
        if self.trouble is not None:
            self.trouble = None
        if len(lines) == 1:
            return [f"{self._prefix}{start}"]
        ids = []
        for line in lines:
            ids.append(f"{self._prefix}{start}")
            start += len(line)
        return ids

    def _write(self, blob: bytes) -> int:
        """Write all of `blob` or, raising, nothing."""
        done = 0
        try:
            done = os.write(self._fd, blob)
            while done < len(blob):
                done += os.write(self._fd, memoryview(blob)[done:])
            return done
        except BaseException as error:
            self._cut(done)
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise

    def _cut(self, partial: int) -> None:
        """Take back a batch of which `partial` bytes were written.

        The segment is left for good: readers may have seen its lines, so their offsets are not used twice.
        """
        if partial == 0:
            return
        try:
            os.ftruncate(self._fd, self._offset)
            if self._offset == 0:
                os.unlink(segment_path(self.root, self.incarnation, self._segment))
        except OSError:
            # The torn line stays; every reader knows one. Whole lines of the batch stay too: records
            # whose answers never leave, which the log's promise allows.
            pass
        self._leave()

    def _rotate(self) -> None:
        """Open the next segment."""
        if self._clock() < self._retry_at:
            raise LogUnavailable("disk", "the journal's disk failed a moment ago")
        if self._fsync_interval is not None and self._fd >= 0:
            self.sync()
        self._leave()
        number = self._segment + 1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._fd = os.open(segment_path(self.root, self.incarnation, number), flags, 0o600)
        except OSError as error:
            raise self._failed(error) from error
        self._segment, self._offset = number, 0
        self._prefix = f"{self.incarnation}-{number}-"

    def _leave(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _renew_credit(self, need: int) -> None:
        """Measure the root; LogUnavailable when `need` bytes do not fit under the bound."""
        if self._closed:
            raise LogUnavailable("closed", "the journal is closed")
        now = self._clock()
        if now < self._retry_at:
            raise LogUnavailable("bound", "the journal is full")
        free = self._bound - total_bytes(self.root)
        if free < need:
            self._retry_at = now + RETRY_S
            if self._fd >= 0 and self._offset > 0:
                # An open segment cannot be deleted; an empty one behind it sets it free.
                self._retry_at = 0.0
                self._rotate()
                self._retry_at = now + RETRY_S
            raise LogUnavailable("bound", f"the journal is full: {need} bytes needed, {max(free, 0)} free")
        # The nearer the bound, the smaller the step: routers that write at once pass it by little.
        self._credit = max(need, min(CREDIT, free // 4))

    def _failed(self, error: OSError) -> LogUnavailable:
        self._retry_at = self._clock() + RETRY_S
        name = errno.errorcode.get(error.errno or 0, "OSError")
        return LogUnavailable("disk", f"the journal could not be written: {name}: {error.strerror}")

    def _now(self) -> bytes:
        """The head of a record's JSON: `{"time":"2026-11-24T07:00:00.123456Z"`."""
        micros = self._wall_ns() // 1000
        second = micros // 1_000_000
        if second != self._second:
            self._second = second
            self._stamp = time.strftime('{"time":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second)).encode()
        return b'%b%06dZ"' % (self._stamp, micros % 1_000_000)
