"""`python -m router.control`: the control process on an inherited listening socket."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys

import uvicorn

from router.agent import lifeline
from router.agent.key import read_key
from router.connections import Connections, affordable
from router.control.app import control_app
from router.control.away import SOCKET_S
from router.control.plane import make_plane
from router.logging import configure
from router.registry.connection import connect, replicas_awaited
from router.registry.registry import Registry
from router.settings import Settings
from router.tls import Certificate, certificate
from router.wire import StrictProtocol

GRACE_S = 4  # for requests in flight at SIGTERM
CONNECTIONS = 512
CALLER_CONNECTIONS = 256


def main() -> None:
    """Started by `pointsman up`, which owns the socket and the life pipe."""
    parser = argparse.ArgumentParser(prog="router.control")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--life-fd", type=int, required=True)
    args = parser.parse_args()
    lifeline.watch(args.life_fd)
    # uvicorn raises the signal again once it has ended well: that is an exit status of 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    configure("control")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a scrape is no news
    settings = Settings()
    url = os.environ["POINTSMAN_REDIS_URL"]
    registry = Registry(connect(url, timeout=SOCKET_S, name="control"), replicas_awaited(url))
    served = certificate(settings.tls_cert, settings.tls_key)
    app = control_app(make_plane(settings, registry), read_key(settings.data_dir), served)
    found = server_config(app, settings, served)
    uvicorn.Server(found).run(sockets=[socket.socket(fileno=args.fd)])


def server_config(app: object, settings: Settings, served: Certificate | None = None) -> uvicorn.Config:
    """How the control listener is served; logs go the way `configure` has set."""
    rooms = {
        "head_seconds": settings.receive_timeout_ms / 1e3,
        "send_seconds": settings.send_timeout_ms / 1e3,
        "places": Connections(affordable(CONNECTIONS), CALLER_CONNECTIONS),
    }
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http=type("ControlProtocol", (StrictProtocol,), rooms),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=30,
        ssl_context_factory=None if served is None else lambda *_: served.context,
    )


if __name__ == "__main__":
    main()
