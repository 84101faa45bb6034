"""A task that loses a cancellation is cancelled again."""

import asyncio

from router.halt import halt


def test_a_lost_cancellation_is_made_good() -> None:
    async def deaf(times: int) -> None:
        for _ in range(times):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
        await asyncio.Event().wait()

    async def scene() -> None:
        tasks = [asyncio.create_task(deaf(times)) for times in range(3)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await halt(tasks)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scene())
