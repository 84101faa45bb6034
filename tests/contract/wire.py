"""A raw connection to a listener: sends bytes as they are, reads answers one by one; every wait has an end."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

HEAD = b"POST %b HTTP/1.1\r\nhost: test\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer off the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)


class Wire:
    """One TCP connection; `with Wire(port) as wire`."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._timeout = timeout
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """All of it."""
        self._socket.sendall(data)

    def half_close(self) -> None:
        """Says that nothing more will come."""
        self._socket.shutdown(socket.SHUT_WR)

    def reply(self, timeout: float | None = None) -> Reply:
        """The next answer. Raises ConnectionError at the end of the stream, TimeoutError."""
        end = time.monotonic() + (self._timeout if timeout is None else timeout)
        while b"\r\n\r\n" not in self._buffer:
            self._more(end)
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            self._more(end)
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Reply(int(lines[0].split(" ")[1]), headers, body)

    def ended(self, timeout: float = 3.0) -> bool:
        """Whether the other side closes within `timeout` without sending anything more."""
        end = time.monotonic() + timeout
        try:
            self._more(end)
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return False

    def _more(self, end: float) -> None:
        self._socket.settimeout(max(end - time.monotonic(), 0.001))
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"closed after {self._buffer[:200]!r}")
        self._buffer += data


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A whole POST request with its length."""
    lines = "".join(f"{line}\r\n" for line in headers).encode("latin-1")
    return HEAD % path.encode() + lines + b"content-length: %d\r\n\r\n" % len(body) + body
