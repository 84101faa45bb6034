"""Operational logs of every process: JSON lines on stderr; request records do not go this way."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from router.veil import veiled


def configure(process: str, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Sends structlog and the standard library's loggers to `stream` (stderr), one JSON object a line.

    Fields: `time` (RFC 3339 UTC), `level`, `process`, `event`, then the call's own. Call it once a process,
    before the first log line.
    """

    def name(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        name,
    ]
    out = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, _render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(out))),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _render,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)


class _Unfailing:
    """A stream that loses a line rather than break its writer: on a full disk nobody may die of telling so."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """Tries."""
        with contextlib.suppress(OSError):
            self._out.write(text)
        return len(text)

    def flush(self) -> None:
        """Tries."""
        with contextlib.suppress(OSError):
            self._out.flush()


def _render(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Known fields first; what orjson does not know is written as its repr, so no log line ever raises."""
    first: dict[str, Any] = {key: event.pop(key) for key in ("time", "level", "process") if key in event}
    line = orjson.dumps(first | dict(event), default=repr, option=orjson.OPT_NON_STR_KEYS)
    return veiled(line).decode()
