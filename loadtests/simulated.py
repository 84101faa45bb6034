"""A replica that takes a fixed time a call, one call at a time, or refuses; it speaks the lean lane, has no model.

`python -m loadtests.simulated --socket PATH --call-ms 5 --status 200 --life-fd N`. `GET /count` tells the calls it
got and the rows in them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from time import monotonic

import numpy as np

from services.frame import decode_request, encode_answer


class Simulated:
    """State of one process."""

    def __init__(self, call_s: float, status: int) -> None:
        self.call_s, self.status = call_s, status
        self.calls = self.rows = 0
        self._free_at = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it closes."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                writer.write(await self._answer(head, reader))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        if head.startswith(b"get /count "):
            return whole(200, json.dumps({"calls": self.calls, "rows": self.rows}).encode())
        if head.startswith(b"get "):
            return whole(self.status, b"{}")
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        rows = decode_request(await reader.readexactly(length)).tensors["x"]
        self.calls += 1
        self.rows += len(rows)
        self._free_at = max(self._free_at, monotonic()) + self.call_s
        await asyncio.sleep(max(self._free_at - monotonic(), 0.0))
        if self.status != 200:
            return whole(self.status, b'{"error":"not now","code":"overloaded"}')
        return whole(200, bytes(encode_answer([("y", np.ascontiguousarray(rows * 2))], 1)))


def whole(status: int, body: bytes) -> bytes:
    """An HTTP answer."""
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def exit_with(life_fd: int) -> None:
    """Ends this process when whoever started it does."""
    if not os.read(life_fd, 1):
        os._exit(0)


async def main() -> None:
    """Serves until its parent ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--call-ms", type=float, default=5.0)
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--life-fd", type=int, required=True)
    args = parser.parse_args()
    simulated = Simulated(args.call_ms / 1e3, args.status)
    server = await asyncio.start_unix_server(simulated.serve, args.socket)
    asyncio.get_running_loop().add_reader(args.life_fd, exit_with, args.life_fd)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
