"""Large bodies: decoded beside the loop, which goes on; a dead worker is replaced; time and number bounded."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from time import monotonic

import numpy as np
import orjson
import psutil
import pytest

from router.documents import Signature, TensorSpec
from router.edge import v1
from router.edge.inbound import Inbound
from router.edge.offload import WAITING, Offload
from router.errors import BadInput, DeadlineExceeded, Unavailable

SIGNATURE = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 64)),), outputs=())
INBOUND = Inbound({}, "r")
ROWS = np.random.default_rng(0).random((20_000, 64), dtype=np.float32)
BODY = orjson.dumps({"instances": ROWS}, option=orjson.OPT_SERIALIZE_NUMPY)


def run(test: Callable[[Offload], Awaitable[None]]) -> None:
    """Runs a test with an offload that ends with it."""

    async def bounded() -> None:
        offload = Offload()
        try:
            await asyncio.wait_for(test(offload), 60)
        finally:
            offload.close()

    asyncio.run(bounded())


def worker() -> psutil.Process:
    """The worker process."""
    found = [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]
    (one,) = found
    return one


def test_the_loop_goes_on_while_a_large_body_is_read() -> None:
    async def test(offload: Offload) -> None:
        await offload.run(monotonic() + 30, abs, -1)  # the worker is there
        longest = 0.0
        reading = asyncio.ensure_future(
            offload.run(monotonic() + 30, v1.CODEC.decode, INBOUND, BODY, SIGNATURE)
        )
        began = last = monotonic()
        while not reading.done():
            await asyncio.sleep(0)
            now = monotonic()
            longest, last = max(longest, now - last), now
        took = monotonic() - began
        assert np.array_equal(reading.result().inputs["x"], ROWS)
        inline = monotonic()
        v1.CODEC.decode(INBOUND, BODY, SIGNATURE)
        inline = monotonic() - inline
        print(f"{len(BODY) / 1e6:.0f} MB: {took:.2f} s beside the loop, longest standstill {longest:.3f} s")
        assert longest < inline / 2, (longest, inline)

    run(test)


def test_errors_come_back_as_they_are() -> None:
    async def test(offload: Offload) -> None:
        with pytest.raises(BadInput) as caught:
            await offload.run(monotonic() + 30, v1.CODEC.decode, INBOUND, b'{"instances": [[1]]}', SIGNATURE)
        assert (caught.value.code, caught.value.field) == ("bad_shape", "instances")

    run(test)


def test_a_worker_that_dies_is_replaced() -> None:
    async def test(offload: Offload) -> None:
        await offload.run(monotonic() + 30, abs, -1)
        first = worker()
        os.kill(first.pid, signal.SIGKILL)
        first.wait(10)
        assert await offload.run(monotonic() + 30, abs, -2) == 2
        assert worker().pid != first.pid

    run(test)


def test_time_and_number_are_bounded() -> None:
    async def test(offload: Offload) -> None:
        with pytest.raises(DeadlineExceeded):
            await offload.run(monotonic() + 0.01, abs, -1)  # the start of the worker takes longer
        crowd = [asyncio.ensure_future(offload.run(monotonic() + 30, abs, -n)) for n in range(WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="wait"):
            await offload.run(monotonic() + 30, abs, -1)
        assert await asyncio.gather(*crowd) == list(range(WAITING))

    run(test)
