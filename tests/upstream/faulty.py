"""Replicas that fail on purpose, on real sockets, and a lane before them; helpers of these tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np
import orjson

from router.documents import Replica
from router.upstream.batch import BatchLimits
from router.upstream.lane import Lane
from router.upstream.rules import LaneLimits
from router.upstream.upstream import SWEEP
from router.upstream.work import Item, Result
from services import frame

LIMITS = LaneLimits(requests=100, size=1 << 20, batch=BatchLimits(rows=64, size=1 << 20))
Behave = Callable[[list[int]], Awaitable[bytes | None]]


def http(status: int, body: bytes) -> bytes:
    """An HTTP answer."""
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def doubled(rows: list[int]) -> bytes:
    """What a healthy replica says: every number twice."""
    answer = [("y", np.array(rows, np.int64).reshape(-1, 1) * 2)]
    return http(200, bytes(frame.encode_answer(answer, 1)))


def error(status: int) -> bytes:
    """What a replica says when it fails."""
    return http(status, orjson.dumps({"error": "no", "code": "model_error"}))


class FaultyReplica:
    """Answers each exchange by `behave`; None means: cut the connection. Keeps the batches it saw.

    `/readyz` answers by `behave` too, to no rows: what fails there fails here.
    """

    def __init__(self, path: Path, behave: Behave) -> None:
        self.path = path
        self.behave = behave
        self.batches: list[list[int]] = []
        self.connections = self.probes = self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /readyz "):
                    self.probes += 1
                    writer.write(await self.behave([]) or b"")
                    break
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                request = frame.decode_request(await reader.readexactly(length))
                rows = [int(row) for row in request.tensors["x"][:, 0]]
                self.batches.append(rows)
                answer = await self.behave(rows)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def lane_with(
    *behaves: Behave, limits: LaneLimits = LIMITS, rowwise: bool = True
) -> AsyncIterator[tuple[Lane, list[FaultyReplica]]]:
    """A lane with one replica a behaviour, on real sockets."""
    with TemporaryDirectory(prefix="pm") as folder:
        faulty = [FaultyReplica(Path(folder) / f"{n}", behave) for n, behave in enumerate(behaves)]
        servers = [await asyncio.start_unix_server(each.serve, each.path) for each in faulty]
        lane = Lane("m", "1", limits, rowwise=rowwise)
        lane.seat(tuple(replica(each.path) for each in faulty))
        sweeper = asyncio.get_running_loop().create_task(sweep(lane))
        try:
            yield lane, faulty
        finally:
            sweeper.cancel()
            lane.close()
            for server in servers:
                server.close()


async def sweep(lane: Lane) -> None:
    """What a router does for its lanes."""
    while True:
        await asyncio.sleep(SWEEP)
        lane.expire(monotonic())


def replica(path: Path) -> Replica:
    """A replica at a socket."""
    return Replica(
        id=path.name, model="m", version="1", digest="d", address=f"unix:{path}", pid=1, node="n",
        state="ready", since="",
    )  # fmt: skip


def submit(
    lane: Lane,
    *values: int,
    timeout: float = 5.0,
    rowwise: bool = True,
    future: asyncio.Future[Result] | None = None,
) -> Item:
    """Queues one caller's rows."""
    array = np.array(values, np.int64).reshape(-1, 1)
    now = monotonic()
    future = asyncio.get_running_loop().create_future() if future is None else future
    item = Item({"x": array}, len(values) if rowwise else 0, array.nbytes, now + timeout, now, future)
    lane.submit(item)
    return item


async def answers(*items: Item) -> list[list[int] | BaseException]:
    """The numbers each caller got, or his error; all within 10 s."""
    futures = [item.future for item in items]
    results = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 10)
    return [
        result if isinstance(result, BaseException) else result.outputs["y"][:, 0].tolist()
        for result in results
    ]


async def healthy(rows: list[int]) -> bytes:
    """No fault."""
    return doubled(rows)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a test within 30 s."""

    async def bounded() -> None:
        await asyncio.wait_for(test(), 30)

    asyncio.run(bounded())
