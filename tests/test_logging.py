"""Operational logs are JSON lines, and no full disk under them reaches who writes them."""

from __future__ import annotations

import errno
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from router.logging import configure


class Full(io.StringIO):
    """A stream on a disk that is full while `full` says so."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What other tests have set up comes back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    stream = Full()
    configure("test", stream=stream)
    log = structlog.get_logger()
    log.error("before", n=1)
    stream.full = True
    log.error("lost")
    stream.full = False
    log.error("after", n=3)
    lines = [json.loads(line) for line in stream.getvalue().splitlines() if line]
    assert [line["event"] for line in lines] == ["before", "after"]
    assert lines[0]["process"] == "test"
