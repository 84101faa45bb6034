"""What waits for a replica and what comes back: values of the tensor lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from router.errors import PointsmanError
from router.tensors import Array


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at an answer, as it stands in the record."""

    version: str
    replica: str
    status: int
    error: str | None
    upstream_ms: float

    def as_record(self) -> dict[str, object]:
        """The form of contracts.md's `attempts[]`."""
        return {
            "version": self.version,
            "replica": self.replica,
            "status": self.status,
            "error": self.error,
            "upstream_ms": self.upstream_ms,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """An answered item: its own rows of the batch's outputs, and how it travelled (milliseconds)."""

    outputs: dict[str, Array]
    batch_rows: int
    finite: bool = False  # no output of the whole batch has NaN or infinity; false: look for yourself


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

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()
