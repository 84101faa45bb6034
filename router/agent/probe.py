"""Asks a local process over HTTP/1.1 whether it is ready: one GET, one status, nothing kept."""

from __future__ import annotations

import asyncio


async def status(address: str, path: str, timeout: float) -> int:
    """The status of `GET path` at `unix:PATH` or `tcp:HOST:PORT`.

    Raises OSError where nobody listens or the answer is no HTTP, TimeoutError after `timeout` seconds.
    """
    async with asyncio.timeout(timeout):
        reader, writer = await _connect(address)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
            line = await reader.readline()
        except ValueError as error:  # an endless first line
            raise OSError(f"{address}: no HTTP answer") from error
        finally:
            writer.close()
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise OSError(f"{address}: no HTTP answer")
    return int(parts[1])


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))
