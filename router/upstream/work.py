"""What waits for a replica and what comes back: values of the tensor lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from router.errors import PointsmanError
from router.tensors import Array
from router.upstream.outputs import Outputs


class Attempt:
    """One try at an answer, shared by all whose rows travelled in it; `json` is contracts.md's `attempts[]`."""

    __slots__ = ("error", "json", "replica", "status", "upstream_ms", "version")

    def __init__(
        self, version: str, replica: str, status: int, error: str | None, upstream_ms: float
    ) -> None:
        self.version = version
        self.replica = replica
        self.status = status
        self.error = error
        self.upstream_ms = upstream_ms
        self.json = orjson.dumps(
            {
                "version": version,
                "replica": replica,
                "status": status,
                "error": error,
                "upstream_ms": round(upstream_ms, 3),
            }
        )


@dataclass(slots=True)
class Result:
    """An answered item: its share of the outputs of its batch, rows `start` to `stop`, and the batch's rows.

    `stop` is 0 for versions that are not row-wise: the outputs are its own.
    """

    batch: Outputs
    batch_rows: int
    start: int = 0
    stop: int = 0

    @property
    def outputs(self) -> Mapping[str, Array]:
        """Its own rows by output; views."""
        if not self.stop:
            return self.batch.arrays
        return {name: array[self.start : self.stop] for name, array in self.batch.arrays.items()}

    @property
    def size(self) -> float:
        """Bytes of its outputs."""
        return self.batch.row_bytes * ((self.stop - self.start) or 1)


class Waiter(Protocol):
    """Who waits for an item: an asyncio.Future, or anything that behaves like one."""

    def done(self) -> bool:
        """Whether it waits no more."""

    def set_result(self, result: Result, /) -> None:
        """The answer."""

    def set_exception(self, error: PointsmanError, /) -> None:
        """Why there is none."""


@dataclass(slots=True, eq=False)
class Item:
    """One caller's tensors on their way. `rows` is 0 for versions that are not row-wise.

    `deadline` and `queued` are readings of `time.monotonic` (the loop's own clock stands still in a turn).
    """

    inputs: dict[str, Array]
    rows: int
    size: int
    deadline: float
    queued: float
    future: Waiter
    attempts: list[Attempt] = field(default_factory=list)
    replica: str | None = None
    queue_ms: float = 0.0
    upstream_ms: float = 0.0
    failures: int = 0
    told: bool = False  # that its answer is overdue, while it was queued

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()
