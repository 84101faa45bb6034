"""Redis as operators run it, on loopback: a server on a port, sentinels over two servers, a cluster, a slow line.

All from the redis-server of this environment; each object ends what it started and removes its folder.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from loadtests.fleet import BIN, free_ports, wait_for

SERVICE = "pm"
READY_S = 15.0


class Server:
    """One redis-server on a port, append-only file on; `options` are its own (`maxmemory="20mb"`)."""

    def __init__(self, port: int | None = None, **options: str) -> None:
        self.port = port or free_ports(1)[0]
        self.folder = Path(tempfile.mkdtemp(prefix="pm-redis-"))
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._options = {"appendonly": "yes", "save": "", "repl-diskless-sync-delay": "0"} | {
            name.replace("_", "-"): value for name, value in options.items()
        }
        self.client: Any = redis.Redis(port=self.port, socket_timeout=2, retry=None)

    def start(self) -> None:
        """Returns when it answers."""
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self._options.items():
            words += [f"--{name}", *(value.split() or [""])]
        self.process = subprocess.Popen([str(BIN / "redis-server"), *words], stdout=subprocess.DEVNULL)
        wait_for(self.answers, READY_S)

    def answers(self) -> bool:
        """Whether it says PONG."""
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def signal(self, number: int) -> None:
        """SIGSTOP, SIGCONT."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def backup(self) -> bytes:
        """Its append-only file as it is now, with all that was answered."""
        self.client.config_set("appendfsync", "always")
        self.client.set("pm-written", "all")
        return (self.folder / "appendonly.aof").read_bytes()

    def put_back(self, backup: bytes) -> None:
        """Restarts it as it was then."""
        self.kill()
        (self.folder / "appendonly.aof").write_bytes(backup)
        self.start()

    def close(self) -> None:
        """Ends it and removes its folder."""
        if self.process is not None:
            self.kill()
        self.client.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinels:
    """Three sentinels over a primary and its replica; a server that does not answer for a second is down."""

    def __init__(self, down_after_ms: int = 1000) -> None:
        self.servers = [Server() for _ in range(2)]
        self.ports = free_ports(3)
        self.folder = Path(tempfile.mkdtemp(prefix="pm-sentinel-"))
        self.url = "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in self.ports) + f"/{SERVICE}"
        self._down_after_ms = down_after_ms
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns when the replica follows and the sentinels know each other."""
        primary, replica = self.servers
        primary.start()
        replica.start()
        replica.client.replicaof("127.0.0.1", primary.port)
        for port in self.ports:
            config = self.folder / f"{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self.folder}\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {self._down_after_ms}\n"
                f"sentinel failover-timeout {SERVICE} 3000\n"
            )
            words = [str(BIN / "redis-server"), str(config), "--sentinel"]
            self._processes.append(subprocess.Popen(words, stdout=subprocess.DEVNULL))
        wait_for(self._complete, READY_S)

    def primary(self) -> Server:
        """Whom the sentinels name."""
        for port in self.ports:
            try:
                with redis.Redis(port=port, socket_timeout=1) as sentinel:
                    _, named = sentinel.sentinel_get_master_addr_by_name(SERVICE)
            except redis.RedisError:
                continue
            return next(server for server in self.servers if server.port == int(named))
        raise TimeoutError("no sentinel answers")

    def replica(self) -> Server:
        """The other one."""
        return next(server for server in self.servers if server is not self.primary())

    def whole(self) -> bool:
        """Whether the primary has its replica, which is not behind."""
        try:
            told = self.primary().client.info("replication")
        except redis.RedisError:
            return False
        return told["role"] == "master" and told.get("slave0", {}).get("state") == "online"

    def close(self) -> None:
        """Ends all."""
        for process in self._processes:
            process.kill()
            process.wait()
        for server in self.servers:
            server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _complete(self) -> bool:
        for port in self.ports:
            try:
                with redis.Redis(port=port, socket_timeout=1) as sentinel:
                    told: Any = sentinel.sentinel_master(SERVICE)
            except redis.RedisError:
                return False
            if told["num-other-sentinels"] < 2 or told["num-slaves"] < 1:
                return False
        return self.whole()


class ClusterServers:
    """Three primaries with a replica each."""

    def __init__(self) -> None:
        self.servers = [
            Server(port, cluster_enabled="yes", cluster_node_timeout="1000") for port in cluster_ports(6)
        ]
        places = [f"127.0.0.1:{server.port}" for server in self.servers]
        self.url = "redis+cluster://" + ",".join(places[:3])
        self._places = places

    def start(self) -> None:
        """Returns when every node says that the cluster is whole."""
        for server in self.servers:
            server.start()
        words = ["--cluster", "create", *self._places, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run([str(BIN / "redis-cli"), *words], check=True, capture_output=True, timeout=30)
        wait_for(self.whole, READY_S)

    def whole(self) -> bool:
        """Whether every living node has all slots and each primary a replica that follows."""
        states = [server.client.info("replication") for server in self.servers]
        linked = sum(state.get("master_link_status") == "up" for state in states)
        told = [server.client.execute_command("CLUSTER INFO") for server in self.servers]
        return linked == 3 and all(_cluster_state(each) == "ok" for each in told)

    def owner(self, key: str) -> Server:
        """The primary of a key's slot, as the first living node tells."""
        living = next(server for server in self.servers if server.answers())
        slot = living.client.execute_command("CLUSTER KEYSLOT", key)
        with redis.RedisCluster(host="127.0.0.1", port=living.port) as client:
            node: Any = client.nodes_manager.get_node_from_slot(slot)
        return next(server for server in self.servers if server.port == node.port)

    def close(self) -> None:
        """Ends all."""
        for server in self.servers:
            server.close()


def cluster_ports(count: int) -> list[int]:
    """Ports nobody listens on, of which the ports 10,000 above are free too: nodes speak to each other there."""
    found: list[int] = []
    for port in random.sample(range(12_000, 22_000), 1000):
        try:
            for each in (port, port + 10_000):
                socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports for a cluster")


def _cluster_state(told: Any) -> str:
    if isinstance(told, dict):
        return str(told["cluster_state"])
    return str(told.decode() if isinstance(told, bytes) else told).split("cluster_state:")[1].split("\r\n")[0]


class SlowLine:
    """A TCP line to a server that holds every answer back by `delay` seconds; it may also be cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        assert self._started.wait(5)

    def close(self) -> None:
        """Ends every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        lines: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._line(reader, writer))
            lines.add(task)
            task.add_done_callback(lines.discard)

        server = await asyncio.start_server(accept, sock=self._listener)
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in lines:
            task.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._target)
            ways = [self._way(reader, there, lambda: 0.0), self._way(back, writer, lambda: self.delay)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:
            return
        finally:
            writer.close()
            if there is not None:
                there.close()

    async def _way(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: Callable[[], float]
    ) -> None:
        """One direction; what waits does not hold up what comes after it any longer than itself."""
        loop = asyncio.get_running_loop()
        while data := await reader.read(1 << 16):
            if held := delay():
                loop.call_later(held, writer.write, data)
            else:
                writer.write(data)
                await writer.drain()


def stopped(server: Server) -> Callable[[], None]:
    """A function that stops a server with SIGSTOP."""
    return lambda: server.signal(signal.SIGSTOP)
