"""uvicorn as a replica needs it: socket for its owner only, bound after start-up, gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

import uvicorn

from services.front import Front
from services.protocol import LaneProtocol


class ReplicaServer(uvicorn.Server):
    """Serves `front` at `address` (uvicorn's `uds`, or `host` and `port`).

    uvicorn runs the app's lifespan before it binds, so a connection that succeeds finds a warm replica.
    """

    def __init__(self, front: Front, address: dict[str, Any], *, keep_alive_s: int, drain_s: int) -> None:
        super().__init__(
            uvicorn.Config(
                front,
                loop="uvloop",
                http=LaneProtocol,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                timeout_keep_alive=keep_alive_s,
                timeout_graceful_shutdown=drain_s,
                backlog=1024,
                **address,
            )
        )
        self._front = front

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then takes from others what uvicorn's 0666 gave them."""
        path = self.config.uds
        if path is not None:
            # A socket left by a killed process: its mode must not be taken over.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        await super().startup(sockets)
        if path is not None:
            os.chmod(path, 0o600)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers with `connection: close` first, so that busy keep-alive connections end between requests."""
        self._front.lane.draining = True
        for server in self.servers:
            server.close()
        await asyncio.sleep(0.2)
        await super().shutdown(sockets)
        if self.config.uds is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.config.uds)
