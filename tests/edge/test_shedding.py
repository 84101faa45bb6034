"""A router whose loop is late refuses predictions, and only then; on a real loop that is really held up."""

import asyncio
import time

import pytest

from router.edge.shedding import Shedding
from router.errors import Unavailable


def look_often(shedding: Shedding) -> None:
    """Until it refuses one; at nine in ten that is at once."""
    for _ in range(200):
        shedding.look("m")


def test_a_late_loop_sheds_and_a_punctual_one_does_not() -> None:
    async def run() -> None:
        shedding = Shedding(20)
        shedding.start()
        try:
            await asyncio.sleep(0.2)
            shedding.look("m")
            assert shedding.share == 0.0
            while shedding.share < 0.9:
                time.sleep(0.12)  # holds the loop, as heavy work does
                await asyncio.sleep(0)
            with pytest.raises(Unavailable) as caught:
                look_often(shedding)
            assert caught.value.code == "overloaded"
            assert caught.value.retry_after == 1
            assert shedding.shed["m"] == 1
            assert shedding.lag.peak(time.monotonic()) > 0.02
            async with asyncio.timeout(10):
                while shedding.share:
                    await asyncio.sleep(0.02)
            for _ in range(100):
                shedding.look("m")
        finally:
            shedding.close()

    asyncio.run(run())


def test_without_a_bound_it_is_only_measured() -> None:
    async def run() -> None:
        shedding = Shedding(0)
        shedding.start()
        for _ in range(6):
            time.sleep(0.4)
            await asyncio.sleep(0)
        assert shedding.lag.mean > 0.1
        for _ in range(100):
            shedding.look("m")
        shedding.close()

    asyncio.run(run())
