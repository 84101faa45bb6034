"""A caller that writes down what it saw: one kept-alive connection, when each request was sent, who answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from time import monotonic

import orjson


@dataclass(frozen=True, slots=True)
class Seen:
    """One complete answer (times: `time.monotonic`), or a request that got none (`status` 0).

    In open loop `took` counts from when it was due: who had to wait for a slow answer before it, waited too.
    """

    sent: float
    took: float
    status: int
    version: str = ""
    epoch: int = 0
    reason: str = ""
    stale: bool = False
    request_id: str = ""
    error: str = ""


class Caller:
    """Sends one request after another to a data listener; reconnects after a broken exchange."""

    def __init__(self, port: int, path: str, timeout: float = 35.0, method: str = "POST") -> None:
        self._port = port
        self._target = f"{method} {path}".encode()
        self._timeout = timeout
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, body: bytes, headers: dict[str, str] | None = None) -> Seen:
        """One exchange; never raises for what the other side does."""
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items()).encode()
        request = b"%b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (
            self._target,
            extra,
            len(body),
            body,
        )
        sent = monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
                    sent = monotonic()
                self._writer.write(request)
                return await self._answer(sent)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            self.close()
            return Seen(sent, monotonic() - sent, 0, error=f"{type(error).__name__}: {error}")

    async def _answer(self, sent: float) -> Seen:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        parts = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): text for name, _, text in parts}  # a proxy writes them in capitals
        body = await self._reader.readexactly(int(headers["content-length"]))
        took = monotonic() - sent
        if headers.get("connection") == "close":
            self.close()
        status = int(head[0].split(" ")[1])
        return Seen(
            sent,
            took,
            status,
            headers.get("x-model-version", ""),
            int(headers.get("x-route-epoch", 0)),
            headers.get("x-route-reason", ""),
            "x-route-stale" in headers,
            headers.get("x-request-id", ""),
            "" if status == 200 else body[:200].decode("utf-8", "replace"),
        )

    def close(self) -> None:
        """Closes the connection; the next call opens a new one."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@dataclass(slots=True)
class Load:
    """Several callers at once; open-loop at `rate` requests a second in all, or as fast as they can (0)."""

    port: int
    path: str
    bodies: list[bytes]
    callers: int = 8
    rate: float = 0.0
    method: str = "POST"
    seen: list[Seen] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, count: int | None = None) -> None:
        """Begins; each caller ends after its share of `count` requests, or at `stop()`."""
        share = None if count is None else count // self.callers
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(number, share)) for number in range(self.callers)]

    async def stop(self) -> list[Seen]:
        """Ends after the exchanges under way; everything seen, in the order of sending."""
        self._stop.set()
        return await self.finished()

    async def finished(self) -> list[Seen]:
        """Waits for the callers' own end."""
        await asyncio.gather(*self._tasks)
        self.seen.sort(key=lambda each: each.sent)
        return self.seen

    async def _run(self, number: int, share: int | None) -> None:
        caller = Caller(self.port, self.path, method=self.method)
        interval = self.callers / self.rate if self.rate else 0.0
        due = scheduled = monotonic() + interval * number / self.callers
        done = 0
        while not self._stop.is_set() and (share is None or done < share):
            if interval:
                if (wait := due - monotonic()) > 0:
                    await asyncio.sleep(wait)
                scheduled, due = due, due + interval
            answer = await caller.call(self.bodies[(number + done * self.callers) % len(self.bodies)])
            if interval and answer.sent > scheduled:
                answer = replace(answer, took=answer.took + answer.sent - scheduled)
            self.seen.append(answer)
            done += 1
            if answer.status == 0:
                await asyncio.sleep(0.005)
        caller.close()


def digit_rows(limit: int = 1797) -> list[bytes]:
    """One request body a row of the digits data, in writer order."""
    from sklearn.datasets import load_digits

    return [orjson.dumps({"instances": [row.tolist()]}) for row in load_digits().data[:limit]]
