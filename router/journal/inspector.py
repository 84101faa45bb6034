"""Looks once through the segments that dead routers left and says what is broken; it changes no segment.

Sound lines around a broken one are worth keeping, and their ids say where they stand: a segment stays in its
place, readers pass over its broken lines, and a copy of those goes to the quarantine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import structlog

from router.journal.folder import SegmentFile, alive, incarnations, read_lines, segments
from router.journal.segment import Fault
from router.quarantine import keep_bytes

STEP_BYTES = 16 << 20
"""Read at a step: 4 GiB take some minutes of a small share of one core."""

KEPT_BYTES = 1 << 20
"""Broken bytes of one segment that are copied, at most."""

log = structlog.get_logger(__name__)


class Inspector:
    """`corrupt_bytes` counts the bytes of broken lines so far; not torn ends, which every kill -9 may leave."""

    def __init__(self, data_dir: Path) -> None:
        self.corrupt_bytes = 0
        self._data_dir = data_dir
        self._ahead: Iterator[SegmentFile] | None = None

    def step(self) -> bool:
        """Looks through segments until some 16 MiB are read; whether there is more. Blocks: run it in a thread."""
        if self._ahead is None:
            self._ahead = iter(self._left_behind())
        read = 0
        for segment in self._ahead:
            try:
                self._look(segment)
            except FileNotFoundError:
                continue  # deleted by retention meanwhile
            except OSError as error:
                log.error("segment_unreadable", path=str(segment.path), error=str(error))
            read += segment.size
            if read >= STEP_BYTES:
                return True
        return False

    def _left_behind(self) -> list[SegmentFile]:
        root = self._data_dir / "journal"
        return [
            segment
            for name in incarnations(root)
            if not alive(root / name)
            for segment in segments(root, name)
        ]

    def _look(self, segment: SegmentFile) -> None:
        corrupt = []
        for item in read_lines(segment.path, 0):
            if isinstance(item, Fault) and item.kind == "torn":
                log.warning(
                    "segment_torn", path=str(segment.path), offset=item.offset, bytes=item.end - item.offset
                )
            elif isinstance(item, Fault):
                corrupt.append(item)
        if not corrupt:
            return
        size = sum(fault.end - fault.offset for fault in corrupt)
        self.corrupt_bytes += size
        kept = self._keep(segment, corrupt)
        log.error(
            "segment_corrupt",
            path=str(segment.path),
            lines=len(corrupt),
            bytes=size,
            offset=corrupt[0].offset,
            kept_as=None if kept is None else str(kept),
        )

    def _keep(self, segment: SegmentFile, corrupt: list[Fault]) -> Path | None:
        data = bytearray()
        with segment.path.open("rb") as file:
            for fault in corrupt:
                file.seek(fault.offset)
                data += file.read(min(fault.end - fault.offset, KEPT_BYTES - len(data)))
                if len(data) >= KEPT_BYTES:
                    break
        name = f"{segment.incarnation}-{segment.path.name}.corrupt"
        reason = f"{len(corrupt)} lines fail their check, the first at offset {corrupt[0].offset}"
        return keep_bytes(name, bytes(data), reason, segment.path, self._data_dir)
