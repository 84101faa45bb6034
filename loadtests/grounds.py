"""What a proof stands on: an installation with versions deployed, and a Redis of the operator's own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from loadtests.fleet import BIN, Fleet, free_ports, wait_for


@contextmanager
def fleet(*versions: str, **options: object) -> Iterator[Fleet]:
    """An installation with versions of digits deployed and `1` active."""
    made = Fleet(**options)  # type: ignore[arg-type]
    try:
        made.start()
        if versions:
            made.release("digits", *versions)
            made.promote("digits", "1")
        yield made
    except BaseException:
        print(made.tail(), crash(made), sep="\n", file=sys.stderr)
        raise
    finally:
        made.remove()


def crash(made: Fleet) -> str:
    """Why the embedded Redis crashed, if it did: the report is longer than the end of its log."""
    log = made.data_dir / "logs" / "redis.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    at = text.find("REDIS BUG REPORT START")
    return "" if at < 0 else f"== the embedded Redis crashed\n{text[max(at - 1000, 0) : at + 6000]}"


class ExternalRedis:
    """A redis-server of our own on a port, as an operator's would be: killed and started on the same data."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pm-redis-")
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder.name]
        words += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = subprocess.Popen([str(BIN / "redis-server"), *words], stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            wait_for(lambda: answers(client), 10)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ends it and removes its folder."""
        self.kill()
        self.folder.cleanup()


def answers(client: redis.Redis) -> bool:
    """Whether a server says PONG."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
