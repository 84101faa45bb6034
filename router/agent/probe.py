"""Asks a local process over HTTP/1.1 whether it is ready: one GET, one status or body, nothing kept."""

from __future__ import annotations

import asyncio
import ssl


async def status(address: str, path: str, timeout: float, tls: ssl.SSLContext | None = None) -> int:
    """The status of `GET path` at `unix:PATH` or `tcp:HOST:PORT`, there perhaps with TLS.

    Raises OSError where nobody listens or the answer is no HTTP, TimeoutError after `timeout` seconds.
    """
    async with asyncio.timeout(timeout):
        reader, writer = await _asked(address, path, tls)
        try:
            return await _status(address, reader)
        finally:
            writer.close()


async def body(address: str, path: str, timeout: float) -> bytes:
    """The body of a 200; raises as `status` does, and OSError for any other status."""
    async with asyncio.timeout(timeout):
        reader, writer = await _asked(address, path)
        try:
            found = await _status(address, reader)
            _, blank, rest = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
    if found != 200 or not blank:
        raise OSError(f"{address}: {path} answers {found}")
    return rest


async def _asked(
    address: str, path: str, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await _connect(address, tls)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    return reader, writer


async def _status(address: str, reader: asyncio.StreamReader) -> int:
    try:
        line = await reader.readline()
    except ValueError as error:  # an endless first line
        raise OSError(f"{address}: no HTTP answer") from error
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise OSError(f"{address}: no HTTP answer")
    return int(parts[1])


async def _connect(
    address: str, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(rest)
    host, _, port = rest.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)
