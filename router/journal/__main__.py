"""The `log` process of a host: ships the journal, deletes what may go, tells how it is; serves no requests."""

import argparse
import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import structlog
from redis.exceptions import RedisError

from router.clock import rfc3339
from router.halt import halt
from router.journal import status
from router.journal.folder import incarnations, total_bytes
from router.journal.inspector import Inspector
from router.journal.retention import deserted, remove, sweep
from router.journal.shipper import Shipper
from router.journal.trimmer import Trimmer
from router.logging import configure
from router.registry.connection import close, connect, disconnect
from router.settings import Settings

TICK_S = 1.0
STATUS_KEPT_S = 60
GRACE_S = 5.0
ORPHAN_GRACE_S = 1.0
"""When `up` was killed nothing of it may run 3 s later, and its Redis is dying too."""

log = structlog.get_logger("log")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line. `life_fd` is a pipe from the parent: its end is the parent's."""

    data_dir: Path
    redis_url: str
    life_fd: int | None
    status_file: Path | None
    node: str
    limit_bytes: int
    keep_s: float


def parse(arguments: list[str]) -> Options:
    """The options; exits with 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="router.journal", description=__doc__)
    settings = Settings()
    parser.add_argument("--data-dir", type=Path, default=settings.data_dir)
    parser.add_argument("--redis-url", default=settings.redis_url, help="default: POINTSMAN_REDIS_URL")
    parser.add_argument("--life-fd", type=int)
    parser.add_argument("--status-file", type=Path)
    parser.add_argument("--node", help="name of this host; default: DATA_DIR/node.id")
    parser.add_argument("--limit-bytes", type=int, default=settings.log_bytes)
    parser.add_argument("--keep-hours", type=float, default=settings.log_keep_hours)
    given = parser.parse_args(arguments)
    if given.redis_url is None:
        parser.error("--redis-url or POINTSMAN_REDIS_URL is needed")
    node_file = given.data_dir / "node.id"
    node = given.node or os.environ.get("POINTSMAN_NODE") or _node(node_file)
    return Options(
        given.data_dir,
        given.redis_url,
        given.life_fd,
        given.status_file,
        node,
        given.limit_bytes,
        given.keep_hours * 3600.0,
    )


def _node(file: Path) -> str:
    """The name in `file`, for who runs this process by hand."""
    try:
        return file.read_text("ascii").strip() or "local"
    except (OSError, UnicodeDecodeError):
        return "local"


class Process:
    """The life of the log process: start, ticks, one last shipment."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._root = options.data_dir / "journal"
        self._redis = connect(options.redis_url, name="log")
        self._shipper = Shipper(self._root, self._redis)
        self._trimmer = Trimmer(self._redis)
        self._inspector = Inspector(options.data_dir)
        self._stop = asyncio.Event()
        self._grace_s = GRACE_S
        self._told: str | None = None

    async def run(self) -> None:
        """Until SIGTERM, SIGINT or the parent's end; raises what a part of it raised."""
        self._watch()
        log.info("log_started", node=self._options.node, pid=os.getpid())
        work = [self._shipper.run(self._stop), self._tend_disk(), self._tend_redis(), self._inspect()]
        parts = [*work, self._stop.wait()]
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await halt(tasks)
            await self._finish()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        fd = self._options.life_fd
        if fd is not None:
            loop.add_reader(fd, self._parent_spoke, fd)

    def _parent_spoke(self, fd: int) -> None:
        if os.read(fd, 4096) == b"":
            asyncio.get_running_loop().remove_reader(fd)
            self._grace_s = ORPHAN_GRACE_S
            self._stop.set()

    async def _tend_disk(self) -> None:
        """Retention and the status file, each second, whether Redis is there or not."""
        while not self._stop.is_set():
            try:
                swept = sweep(
                    self._root,
                    self._shipper.reached(),
                    time.time(),
                    self._options.limit_bytes,
                    self._options.keep_s,
                )
                if swept.deleted:
                    log.info("segments_deleted", count=swept.deleted, bytes=swept.deleted_bytes)
                self._write_status()
            except OSError as error:
                log.error("log_disk_trouble", error=str(error))
            self._tell_trouble()
            await asyncio.sleep(TICK_S)

    async def _inspect(self) -> None:
        """Looks once through what earlier routers left, a part a second, and tells what is broken."""
        while True:
            if not await asyncio.to_thread(self._inspector.step):
                break
            await asyncio.sleep(TICK_S)
        await self._stop.wait()

    async def _tend_redis(self) -> None:
        """The status key, and streams trimmed and retired, each second."""
        while not self._stop.is_set():
            try:
                key = status.status_key(self._options.node)
                await self._redis.set(key, self._status().encode(), ex=STATUS_KEPT_S)
                await self._trim()
            except (RedisError, OSError) as error:
                log.warning("log_upkeep_failed", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(TICK_S)

    async def _trim(self) -> None:
        local = incarnations(self._root)
        for name in local:
            await self._trimmer.trim(name)
        for name in deserted(self._root, time.time()):
            # Expire first: if we die in between, the folder is still there to remind the next process.
            await self._trimmer.retire(name)
            remove(self._root, name)
            self._shipper.forget(name)
        await self._trimmer.unregister(local)

    async def _finish(self) -> None:
        """Ship what is there, within the grace, and say goodbye."""
        await disconnect(self._redis)  # a cancelled call may have left an answer unread
        try:
            done = await self._shipper.drain(self._grace_s)
            log.info("log_stopped", shipped_all=done, lag_bytes=sum(self._shipper.lag().values()))
        except (RedisError, OSError) as error:
            log.warning("log_stopped", shipped_all=False, error=f"{type(error).__name__}: {error}")
        self._write_status()
        await close(self._redis)

    def _tell_trouble(self) -> None:
        trouble = self._shipper.trouble or next(iter(self._shipper.unreadable.values()), None)
        if (trouble is None) != (self._told is None):
            if trouble is None:
                log.info("log_shipping_again")
            else:
                log.error("log_shipping_trouble", error=trouble)
        self._told = trouble

    def _write_status(self) -> None:
        if self._options.status_file is not None:
            status.write(self._options.status_file, self._status())

    def _status(self) -> status.Status:
        lag = {name: count for name, count in self._shipper.lag().items() if count}
        return status.Status(
            time=rfc3339(time.time()),
            node=self._options.node,
            pid=os.getpid(),
            lag_bytes=sum(lag.values()),
            lag=lag,
            shipped_bytes=self._shipper.shipped_bytes,
            kept_bytes=total_bytes(self._root),
            limit_bytes=self._options.limit_bytes,
            unread_trimmed=self._trimmer.unread,
            corrupt_bytes=self._inspector.corrupt_bytes,
            trouble=self._shipper.trouble or next(iter(self._shipper.unreadable.values()), None),
        )


def main(arguments: list[str]) -> None:
    """Run the process; its operational log goes to stderr as JSON lines."""
    configure("shipper")

    async def run() -> None:
        await Process(parse(arguments)).run()

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[1:])
