"""A thousand sockets that send or read a byte now and then, beside honest callers, who must not notice.

`python -m loadtests.proofs.slow_sockets --port P --count N` is the crowd alone, until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import signal
import socket
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine

import orjson

from loadtests.caller import Load, digit_rows
from loadtests.fleet import Fleet
from loadtests.proofs.figures import Figures, percentile
from loadtests.proofs.flips import PATH
from router.connections import affordable

PAUSE_S = 2.0  # between two bytes of a slow socket; in as long all of them come
READY_S = 30.0
SETTLE_S = 2.0
CALLERS = 8
RATE = 300.0  # requests a second of the honest callers
WITHIN, OR_MS = 1.10, 1.0


async def slow_sockets(fleet: Fleet, rounds: int, count: int, seconds: float) -> Figures:
    """Honest p99 alone and beside the crowd, in turn; the median of the paired differences must be small."""
    bodies = digit_rows(64)
    await quiet(fleet, bodies, seconds)  # warm
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(await quiet(fleet, bodies, seconds))
        async with crowd(fleet.port, count):
            beside.append(await quiet(fleet, bodies, seconds))
    ratios = [with_it / without for with_it, without in zip(beside, alone, strict=True)]
    more = [(with_it - without) * 1e3 for with_it, without in zip(beside, alone, strict=True)]
    ratio, more_ms = statistics.median(ratios), statistics.median(more)
    assert ratio <= WITHIN or more_ms <= OR_MS, (ratios, more)
    return {
        "slow sockets": count,
        "paired rounds": rounds,
        "honest failed": 0,
        "p99 alone ms (median)": round(statistics.median(alone) * 1e3, 2),
        "p99 beside ms (median)": round(statistics.median(beside) * 1e3, 2),
        "ratio (median of pairs)": round(ratio, 3),
        "difference ms (median of pairs)": round(more_ms, 3),
    }


async def quiet(fleet: Fleet, bodies: list[bytes], seconds: float) -> float:
    """The honest callers' p99 in seconds; every answer must be a 200."""
    load = Load(fleet.port, PATH, bodies, CALLERS, rate=RATE)
    load.start()
    await asyncio.sleep(seconds)
    seen = await load.stop()
    failed = [each for each in seen if each.status != 200]
    assert not failed, failed[:5]
    return percentile([each.took for each in seen], 0.99)


@contextlib.asynccontextmanager
async def crowd(port: int, count: int) -> AsyncIterator[None]:
    """The slow sockets, in a process of their own; all of them are connected when it begins."""
    words = ["-m", "loadtests.proofs.slow_sockets", "--port", str(port), "--count", str(count)]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_S):
            assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(SETTLE_S)
        yield
        assert process.returncode is None, "the crowd did not last"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await asyncio.sleep(SETTLE_S)


# -- the crowd ---------------------------------------------------------------------------------------------


async def drip(port: int, start: bytes, piece: bytes, ready: asyncio.Semaphore) -> None:
    """Sends `start`, then a piece at a time; another connection takes the place of one that is closed."""
    told = False
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(start)
                if not told:
                    told = True
                    ready.release()
                while not reader.at_eof() and not writer.is_closing():
                    writer.write(piece)
                    await asyncio.sleep(PAUSE_S)
                    if reader._buffer:  # type: ignore[attr-defined]  # it was given up
                        break
            finally:
                writer.transport.abort()
        await asyncio.sleep(PAUSE_S)


async def sip(port: int, request: bytes, ready: asyncio.Semaphore) -> None:
    """Asks for answers of many kilobytes and reads them byte by byte."""
    loop, told = asyncio.get_running_loop(), False
    while True:
        with contextlib.suppress(OSError), socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            await loop.sock_connect(slow, ("127.0.0.1", port))
            await loop.sock_sendall(slow, request)
            if not told:
                told = True
                ready.release()
            while await loop.sock_recv(slow, 1):
                await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(PAUSE_S)


async def gather_crowd(port: int, count: int) -> None:
    """A third of slow heads, a third of slow bodies, a third of slow readers, a little apart from each other."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n".encode()
    rows = orjson.dumps({"instances": [orjson.loads(each)["instances"][0] for each in digit_rows(200)]})
    ready = asyncio.Semaphore(0)
    kinds: list[Callable[[], Coroutine[None, None, None]]] = [
        lambda: drip(port, head + b"x-a: ", b"a", ready),
        lambda: drip(port, head + b"content-length: 60000\r\n\r\n", b" ", ready),
        lambda: sip(port, head + b"content-length: %d\r\n\r\n%b" % (len(rows), rows), ready),
    ]
    loop = asyncio.get_running_loop()
    tasks = []
    for _, kind in zip(range(count), itertools.cycle(kinds), strict=False):
        tasks.append(loop.create_task(kind()))
        await asyncio.sleep(PAUSE_S / count)
    for _ in range(count):
        await ready.acquire()
    print("ready", flush=True)
    await asyncio.gather(*tasks)


def main() -> None:
    """The crowd."""
    parser = argparse.ArgumentParser(prog="loadtests.proofs.slow_sockets")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    affordable(args.count)
    asyncio.run(gather_crowd(args.port, args.count))


if __name__ == "__main__":
    main()
