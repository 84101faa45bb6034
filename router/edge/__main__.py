"""`python -m router.edge`: one router process on an inherited listening socket."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

import uvloop

from router.agent import lifeline
from router.edge.router import Router
from router.logging import configure
from router.settings import Settings


def main() -> None:
    """Started by `pointsman up`, which owns the socket and the life pipe."""
    parser = argparse.ArgumentParser(prog="router.edge")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--life-fd", type=int, required=True)
    parser.add_argument("--router-id", required=True)
    args = parser.parse_args()
    lifeline.watch(args.life_fd)
    configure(f"router {args.router_id}")
    settings = Settings()
    router = Router(
        settings,
        args.router_id,
        os.environ["POINTSMAN_NODE"],
        os.environ["POINTSMAN_REDIS_URL"],
        Path(os.environ["POINTSMAN_RUNTIME_DIR"]),
    )
    uvloop.run(router.serve(socket.socket(fileno=args.fd)))


if __name__ == "__main__":
    main()
