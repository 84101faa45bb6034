"""The life of a router's HTTP server: uvicorn on an inherited socket, with a drain that breaks no request."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

LOOK = 0.02  # seconds between looks at the open connections while draining


class InnerServer(uvicorn.Server):
    """A second server in a process whose signals belong to the first; ended by setting `should_exit`."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Takes no signals."""
        return contextlib.nullcontext()


class DrainingServer(uvicorn.Server):
    """uvicorn closes idle kept-alive connections at once, under a request that is just arriving.

    Here the listeners close first and every answer says `Connection: close`; what is idle after the drain
    time is closed, then uvicorn's own shutdown waits for what is in flight.
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: float, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._on_drain = on_drain

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT begin the drain. uvicorn raises them once more at its end, which would kill the
        process before journal, table and lease are closed; here they are done with."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops accepting, drains, then shuts down as uvicorn does."""
        self._on_drain()
        for server in self.servers:
            server.close()
        for _ in range(int(self._drain_seconds / LOOK)):
            if not self.server_state.connections or self.force_exit:
                break
            await asyncio.sleep(LOOK)
        await super().shutdown(sockets)


def config(
    app: Any,
    *,
    protocol: Any = "httptools",
    keep_alive: int = 75,
    graceful: float | None = None,
    tls: ssl.SSLContext | None = None,
) -> uvicorn.Config:
    """How every listener of ours runs: uvloop, httptools, no access log (the journal is the log)."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=True,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=None if graceful is None else max(1, int(graceful)),
        backlog=2048,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
