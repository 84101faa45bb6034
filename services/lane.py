"""The lean lane: the bytes of a frame in, an answer out, on the loop or in the worker; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from services.frame import FrameError, Request, decode_request, encode_answer
from services.pace import Pace
from services.session import InputError, ModelError, Session

INLINE_US: Final = 5000
MAX_BODY: Final = 256 << 20
MAX_WAITING: Final = 64

_log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """An answer: `body` is a frame where `status` is 200, else JSON with `error`, `code` and maybe `field`."""

    status: int
    body: bytes


class Lane:
    """Runs frames on `session`.

    Calls expected to take under 5 ms run inline (a thread hop costs more than most models); longer ones in
    the one worker thread, at most 64 waiting. `clock` gives monotonic seconds.
    """

    def __init__(self, session: Session, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.session = session
        self.clock = clock
        # Set when the process is about to end: each answer is then the last of its connection.
        self.draining = False
        self._pace = Pace()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting = 0

    def infer(self, body: bytes, arrived: float) -> Reply | asyncio.Future[Reply]:
        """The answer to the frame `body` that arrived at `arrived` (the clock's), or a future of it.

        Neither raises: every failure is a Reply. Cancelling the future drops a call that has not begun.
        """
        try:
            request = decode_request(body)
            rows = self.session.check(request.tensors)
        except Exception as error:  # whatever it was, this caller alone gets it
            return _failure(error)
        deadline = arrived + request.deadline_ms / 1000
        expected = self._pace.expected(rows)
        if expected is not None and expected < INLINE_US:
            return self._run(request, rows, deadline)
        if self._waiting >= MAX_WAITING:
            return refuse(503, "overloaded", "too many calls wait for this replica")
        self._waiting += 1
        job = asyncio.get_running_loop().run_in_executor(self._worker, self._run, request, rows, deadline)
        job.add_done_callback(self._left)
        return job

    def _left(self, _job: asyncio.Future[Reply]) -> None:
        self._waiting -= 1

    def _run(self, request: Request, rows: int, deadline: float) -> Reply:
        if self.clock() >= deadline:
            return refuse(504, "deadline_exceeded", "the deadline passed before the model ran")
        try:
            found, taken = self.session.run_checked(request.tensors, rows, request.outputs)
            self._pace.record(rows, taken)
            return Reply(200, encode_answer(found, taken))
        except Exception as error:  # whatever it was, this caller alone gets it
            return _failure(error)


def refuse(status: int, code: str, text: str, field: str | None = None) -> Reply:
    """An answer other than 200."""
    told = {"error": text, "code": code} | ({} if field is None else {"field": field})
    return Reply(status, msgspec.json.encode(told))


def _failure(error: Exception) -> Reply:
    if isinstance(error, FrameError):
        return refuse(400, "bad_frame", str(error), error.field)
    if isinstance(error, InputError):
        return refuse(400, "bad_input", str(error), error.field)
    if isinstance(error, ModelError):
        return refuse(500, "model_error", str(error))
    _log.error("the lean lane failed", exc_info=error)
    return refuse(500, "model_failed", "the replica failed")
