"""Batches: order, bounds, abandoned and expired items, and everybody gets his own rows."""

import asyncio
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import DeadlineExceeded
from router.tensors import Array
from router.upstream.batch import BatchLimits, joined, parted, take, wrong_rows
from router.upstream.work import Item, Result


def item(rows: int, *, deadline: float = 10.0, size: int = 8, start: int = 0) -> Item:
    """An item whose rows are numbered from `start`."""
    loop = asyncio.new_event_loop()
    future: asyncio.Future[Result] = loop.create_future()
    loop.close()
    array: Array = np.arange(start, start + max(rows, 1), dtype=np.int64).reshape(-1, 1)
    return Item({"x": array}, rows, size, deadline, 0.0, future)


LIMITS = BatchLimits(rows=10, size=100)


@given(st.lists(st.integers(1, 12), max_size=30))
def test_batches_keep_the_order_and_the_bounds(rows: list[int]) -> None:
    queue = deque(item(count) for count in rows)
    everything = list(queue)
    seen: list[Item] = []
    freed = gone = 0
    while queue:
        batch, left, lines = take(queue, LIMITS, now=0.0)
        assert batch
        assert sum(each.rows for each in batch) <= 10 or len(batch) == 1
        assert sum(each.size for each in batch) <= 100 or len(batch) == 1
        seen += batch
        freed += left
        gone += lines
    assert seen == everything
    assert freed == 8 * len(rows)
    assert gone == sum(rows)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=10))
def test_everybody_gets_his_own_rows(rows: list[int]) -> None:
    starts = np.cumsum([0, *rows])[:-1]
    batch = [item(count, start=int(start)) for count, start in zip(rows, starts, strict=True)]
    outputs = {"y": joined(batch)["x"] * 2}
    assert wrong_rows(sum(rows), outputs) is None
    for each, part in zip(batch, parted(batch, sum(rows), outputs), strict=True):
        assert np.array_equal(part.outputs["y"], each.inputs["x"] * 2)


def test_what_is_not_row_wise_travels_alone() -> None:
    queue = deque([item(2), item(0), item(0), item(3)])
    sizes, gone = [], []
    while queue:
        batch, _, rows = take(queue, LIMITS, now=0.0)
        sizes.append([each.rows for each in batch])
        gone.append(rows)
    assert sizes == [[2], [0], [0], [3]]
    assert gone == [2, 1, 1, 3]


def test_expired_and_abandoned_items_leave() -> None:
    late, gone, good = item(1, deadline=1.0), item(1), item(1)
    gone.future.cancel()
    queue = deque([late, gone, good])
    assert take(queue, LIMITS, now=2.0) == ([good], 24, 3)
    with pytest.raises(DeadlineExceeded):
        late.future.result()


def test_who_has_less_time_than_an_exchange_takes_is_sent_only_alone() -> None:
    short, long = item(1, deadline=2.5), item(1)
    assert take(deque([short, long]), LIMITS, now=2.0, horizon=1.0) == ([long], 16, 2)
    with pytest.raises(DeadlineExceeded, match="too long"):
        short.future.result()
    alone = item(1, deadline=2.5)
    assert take(deque([alone]), LIMITS, now=2.0, horizon=1.0) == ([alone], 8, 1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), ()])
def test_a_wrong_number_of_rows_is_seen(shape: tuple[int, ...]) -> None:
    problem = wrong_rows(2, {"y": np.zeros(shape)})
    assert problem is not None
    assert "output y" in problem


def test_rows_of_another_shape_travel_apart() -> None:
    wide, other = item(2), item(1)
    wide.inputs = {"x": np.zeros((2, 5), np.int64)}
    queue = deque([item(1), item(2), wide, other])
    sizes = []
    while queue:
        batch, _, _ = take(queue, LIMITS, now=0.0)
        joined(batch)
        sizes.append(len(batch))
    assert sizes == [2, 1, 1]
