"""How items become one batch and an answer becomes theirs again; pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from router.errors import DeadlineExceeded
from router.tensors import Array
from router.upstream.outputs import Outputs
from router.upstream.work import Item, Result


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Most rows and most tensor bytes of one batch; one item alone may be larger."""

    rows: int
    size: int


def take(
    queue: deque[Item], limits: BatchLimits, now: float, horizon: float = 0.0
) -> tuple[list[Item], int, int]:
    """Takes the next batch off the queue, in order; abandoned items vanish, expired ones fail here.

    One with less than `horizon` seconds left counts as expired while others wait; alone it is tried. Also
    gives the bytes and the rows that left the queue, of the batch and of those that left otherwise.
    """
    batch: list[Item] = []
    rows = size = freed = gone = 0
    late = now + horizon
    while queue:
        item = queue[0]
        if item.abandoned or (item.deadline <= late and (item.deadline <= now or batch or len(queue) > 1)):
            queue.popleft()
            freed += item.size
            gone += item.rows or 1
            if not item.abandoned:
                item.future.set_exception(_too_late(item, now))
            continue
        if batch and (
            item.rows == 0
            or rows + item.rows > limits.rows
            or size + item.size > limits.size
            or not _alike(batch[0], item)
        ):
            break
        queue.popleft()
        batch.append(item)
        rows += item.rows
        size += item.size
        if item.rows == 0:
            gone += 1
            break
    return batch, freed + size, gone + rows


def _too_late(item: Item, now: float) -> DeadlineExceeded:
    if item.deadline <= now:
        return DeadlineExceeded("the deadline passed while the request waited")
    return DeadlineExceeded("the request waited too long for an answer before its deadline")


def _alike(one: Item, other: Item) -> bool:
    """Whether the rows of both have one shape: dimensions behind the first may be variable too."""
    inputs = one.inputs
    for name, array in other.inputs.items():
        if array.shape[1:] != inputs[name].shape[1:]:
            return False
    return True


def joined(batch: list[Item]) -> dict[str, Array]:
    """The inputs of all items, one after another along the first dimension."""
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([item.inputs[name] for item in batch]) for name in batch[0].inputs}


def wrong_rows(rows: int, outputs: dict[str, Array]) -> str | None:
    """What is wrong where an output does not lead with the batch's rows: then nobody may get any of it."""
    for name, array in outputs.items():
        have = array.shape[0] if array.ndim else None
        if have != rows:
            return f"output {name} has {have} rows for {rows} rows in"
    return None


def parted(batch: list[Item], rows: int, outputs: dict[str, Array]) -> list[Result]:
    """Each item's own rows, in the order of the batch; `rows` is their sum, 0 where it is not row-wise."""
    whole = Outputs(outputs, rows)
    parts: list[Result] = []
    start = 0
    for item in batch:
        stop = start + item.rows
        parts.append(Result(whole, rows, start, stop))
        start = stop
    return parts
