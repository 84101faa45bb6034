"""`python -m router.agent --life-fd N`: the agent of one host, started by `pointsman up`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from pathlib import Path

from router.agent import lifeline
from router.agent.agent import Agent
from router.agent.place import Place
from router.logging import configure
from router.registry.connection import connect
from router.registry.registry import Registry
from router.settings import Settings


async def _serve(life_fd: int) -> None:
    settings = Settings()
    place = Place(settings.data_dir, Path(os.environ["POINTSMAN_RUNTIME_DIR"]))
    registry = Registry(connect(os.environ["POINTSMAN_REDIS_URL"], name="agent"))
    agent = Agent(settings, place, os.environ["POINTSMAN_NODE"], registry, life_fd)
    lifeline.watch(life_fd, agent.kill_all)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.stop)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, agent.leave)  # for the next one to adopt
    try:
        await agent.run()
    finally:
        await registry.close()


def main() -> None:
    """Needs the environment that `up` gives (`POINTSMAN_…`)."""
    parser = argparse.ArgumentParser(prog="router.agent")
    parser.add_argument("--life-fd", type=int, required=True)
    options = parser.parse_args()
    configure("agent")
    asyncio.run(_serve(options.life_fd))


if __name__ == "__main__":
    main()
