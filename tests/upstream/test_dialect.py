"""The JSON dialect: strict both ways, and a lane that speaks it to a service that answers as BentoML does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.contract import ContractBroken, read_outputs, request_body
from router.documents import Replica, Signature, TensorRoute, TensorSpec, Version
from router.errors import BadInput, DeadlineExceeded, ModelFailed, Unavailable
from router.tensors import DTYPES, Array
from router.upstream.batch import BatchLimits
from router.upstream.dialect import LEAN, Json, dialect_of
from router.upstream.lane import Lane
from router.upstream.link import Reply
from router.upstream.rules import LaneLimits
from router.upstream.work import Item, Result

ROUTE = TensorRoute(route="/double", arguments={"x": "rows"}, outputs={"y": "twice"})


def signature(datatype: str = "INT64", shape: tuple[int, ...] = (-1, 1)) -> Signature:
    """One input x, one output y."""
    x, y = (TensorSpec(name=name, datatype=datatype, shape=shape) for name in "xy")
    return Signature(inputs=(x,), outputs=(y,))


def answer_of(value: object, datatype: str = "INT64", shape: tuple[int, ...] = (-1, 1)) -> Array:
    return read_outputs(ROUTE, signature(datatype, shape), orjson.dumps({"twice": value}))["y"]


NUMBERS = [name for name in DTYPES if name not in ("BYTES", "FP16")]


@given(st.data(), st.sampled_from(NUMBERS))
def test_every_array_comes_through_as_it_was(data: st.DataObject, datatype: str) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    elements = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else None
    array = data.draw(hnp.arrays(DTYPES[datatype], shape, elements=elements))
    body = orjson.loads(request_body(ROUTE, {"x": array}))
    assert body.keys() == {"rows"}
    found = answer_of(body["rows"], datatype, (-1, *shape[1:]))
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_strings_missing_values_and_nothing() -> None:
    words = np.array([b"a", "ü".encode()], dtype=object)
    assert request_body(ROUTE, {"x": words}) == '{"rows":["a","ü"]}'.encode()
    assert request_body(ROUTE, {"x": np.array([1, np.nan], np.float32)}) == b'{"rows":[1.0,null]}'
    assert answer_of(["a", "ü"], "BYTES", (-1,)).tolist() == [b"a", "ü".encode()]
    assert answer_of([], "FP32", (-1, 3)).shape == (0, 3)
    assert answer_of([], "BYTES", (-1,)).shape == (0,)
    assert answer_of(5, "INT64", ()).shape == ()


@pytest.mark.parametrize(
    ("value", "datatype", "shape"),
    [
        ([1.5], "INT64", (-1,)),
        ([1.0], "INT64", (-1,)),  # a float, whole or not, is no integer's answer
        ([True], "INT64", (-1,)),
        ([1], "BOOL", (-1,)),
        ([True], "FP32", (-1,)),
        ([300], "INT8", (-1,)),
        ([-1], "UINT8", (-1,)),
        ([1e39], "FP32", (-1,)),
        ([None], "FP32", (-1,)),
        (["1"], "FP32", (-1,)),
        ([{}], "FP32", (-1,)),
        ([1, [2]], "FP32", (-1,)),
        ([1], "BYTES", (-1,)),
        ([["a"], "b"], "BYTES", (-1,)),
        ("abc", "BYTES", (-1,)),
        ([1, 2], "INT64", (-1, 2)),
        ([[1, 2, 3]], "INT64", (-1, 2)),
        (1, "INT64", (-1,)),
        (None, "INT64", (-1,)),
        ({}, "INT64", (-1,)),
    ],
)
def test_an_answer_that_is_not_the_signatures(value: object, datatype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ContractBroken):
        answer_of(value, datatype, shape)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b'{"twice":NaN}', b'{"twice":[[1]]} '[:-2]])
def test_bodies_that_hold_no_outputs(body: bytes) -> None:
    with pytest.raises(ContractBroken):
        read_outputs(ROUTE, signature(), body)


def test_the_answer_may_be_the_value_itself() -> None:
    plain = TensorRoute(route="/double", arguments={"x": "x"})
    assert read_outputs(plain, signature(), b"[[1],[2]]")["y"].tolist() == [[1], [2]]
    with pytest.raises(ContractBroken):
        read_outputs(plain, signature(), b'{"y":[[1]]}')


def test_failures_in_our_words() -> None:
    speak = Json(ROUTE, signature())
    kinds = {400: BadInput, 422: BadInput, 429: Unavailable, 503: Unavailable, 504: DeadlineExceeded}
    for status, kind in {**kinds, 500: ModelFailed, 404: ModelFailed}.items():
        found = speak.failure("version 1", Reply(status, b'[{"error":"told"}]'))
        assert type(found) is kind
        assert ("told" in found.message) is (status in (400, 422))
    assert "secret" not in speak.failure("v", Reply(500, b'{"error":"secret"}')).message
    assert speak.failure("v", Reply(400, b"[]")).message


def test_which_dialect() -> None:
    assert dialect_of(Version(model="m", version="1", digest="d")) is LEAN
    made = Version(model="m", version="1", digest="d", tensors=ROUTE, signature=signature())
    assert dialect_of(made) == Json(ROUTE, signature())


# -- in a lane ---------------------------------------------------------------------------------------------

Behave = Callable[[list[list[int]]], Awaitable[tuple[int, Any]]]


class Service:
    """An API on a TCP port that doubles, unless told otherwise; keeps the rows of each call."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.calls: list[list[list[int]]] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"POST /double HTTP/1.1\r\n")
                assert b"content-type: application/json\r\n" in head
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                rows = orjson.loads(await reader.readexactly(length))["rows"]
                self.calls.append(rows)
                status, answer = await self.behave(rows)
                body = orjson.dumps(answer)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def healthy(rows: list[list[int]]) -> tuple[int, Any]:
    return 200, {"twice": [[row[0] * 2] for row in rows]}


@asynccontextmanager
async def lane_to(behave: Behave, **dialect: Any) -> AsyncIterator[tuple[Lane, Service]]:
    service = Service(behave)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    limits = LaneLimits(requests=100, size=1 << 20, batch=BatchLimits(rows=64, size=1 << 20))
    lane = Lane("m", "1", limits, Json(ROUTE, signature(), **dialect))
    replica = Replica(
        id="r", model="m", version="1", digest="d", address=f"tcp:{host}:{port}", pid=1, node="n",
        state="ready", since="",
    )  # fmt: skip
    lane.seat((replica,))
    try:
        yield lane, service
    finally:
        lane.close()
        server.close()


def submit(lane: Lane, *values: int) -> Item:
    array = np.array(values, np.int64).reshape(-1, 1)
    now = monotonic()
    future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    item = Item({"x": array}, len(values), array.nbytes, now + 5, now, future)
    lane.submit(item)
    return item


async def settled(*items: Item) -> list[list[int] | BaseException]:
    found = await asyncio.wait_for(asyncio.gather(*(i.future for i in items), return_exceptions=True), 10)
    return [one if isinstance(one, BaseException) else one.outputs["y"][:, 0].tolist() for one in found]


def test_callers_share_calls_and_get_their_own_rows() -> None:
    async def run() -> None:
        async with lane_to(healthy) as (lane, service):
            items = [submit(lane, n, n + 100) for n in range(20)]
            assert await settled(*items) == [[2 * n, 2 * n + 200] for n in range(20)]
            assert len(service.calls) == 2  # the first at once, the others together
            assert items[5].replica == "r"

    asyncio.run(run())


@pytest.mark.parametrize("wrong", [[[1]], [1, 2, 3], [[1.5], [2], [3]], None])
def test_an_answer_for_other_rows_reaches_nobody(wrong: Any) -> None:
    async def short(rows: list[list[int]]) -> tuple[int, Any]:
        return (200, {"twice": wrong}) if len(rows) == 3 else await healthy(rows)

    async def run() -> None:
        async with lane_to(short) as (lane, _):
            first, second, third = submit(lane, 1), submit(lane, 2), submit(lane, 3, 4)
            answers = await settled(first, second, third)
            assert answers[0] == [2]
            for one in answers[1:]:
                assert isinstance(one, ModelFailed)
                assert one.code == "bad_answer"

    asyncio.run(run())


def test_a_row_the_service_refuses_fails_alone() -> None:
    async def picky(rows: list[list[int]]) -> tuple[int, Any]:
        return (400, [{"error": "no 13"}]) if [13] in rows else await healthy(rows)

    async def run() -> None:
        async with lane_to(picky) as (lane, _):
            answers = await settled(*(submit(lane, n) for n in (1, 2, 13, 4, 5)))
            assert isinstance(answers[2], BadInput)
            assert "no 13" in str(answers[2])
            assert [answers[n] for n in (0, 1, 3, 4)] == [[2], [4], [8], [10]]

    asyncio.run(run())


def test_a_busy_service_is_not_asked_by_halves() -> None:
    async def busy(rows: list[list[int]]) -> tuple[int, Any]:
        return 429, {"error": "later"}

    async def run() -> None:
        async with lane_to(busy) as (lane, service):
            answers = await settled(*(submit(lane, n) for n in range(5)))
            assert all(isinstance(one, Unavailable) for one in answers)
            assert len(service.calls) == 2

    asyncio.run(run())


def test_a_connection_that_rested_too_long_is_not_used_again() -> None:
    async def run() -> None:
        async with lane_to(healthy, idle_s=2.0) as (lane, service):
            assert await settled(submit(lane, 1)) == [[2]]
            lane.expire(monotonic() + 1.9)
            assert await settled(submit(lane, 2)) == [[4]]
            assert service.connections == 1
            lane.expire(monotonic() + 2.1)
            assert await settled(submit(lane, 3)) == [[6]]
            assert service.connections == 2

    asyncio.run(run())
