"""A router process between real neighbours: Redis, test replicas, a journal on disk; fixtures for these tests."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
import redis

from router.documents import Replica, Route
from router.journal.reader import Reader
from router.registry.audit import Actor
from router.registry.connection import connect
from router.registry.registry import Registry

T = TypeVar("T")

HERE = Path(__file__).parents[2]
ACTOR = Actor("admin")
MIB = 1 << 20


def until(condition: Callable[[], T], timeout: float = 10.0) -> T:
    """The first true value of `condition`; fails after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {timeout} s: {found!r}"
        time.sleep(0.01)
    return found


def settled(reading: Callable[[], T], looks: int = 25, timeout: float = 20.0) -> T:
    """A reading that was the same `looks` times in a row."""
    last, same = reading(), 0

    def still() -> bool:
        nonlocal last, same
        now = reading()
        same, last = (same + 1 if now == last else 0), now
        return same >= looks

    until(still, timeout)
    return last


class RouterProcess:
    """One `python -m router.edge` on a port of its own."""

    def __init__(self, house: House, name: str, **settings: Any) -> None:
        self.house, self.name = house, name
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = int(listener.getsockname()[1])
        self.log = house.folder / f"{name}.log"
        given = {f"POINTSMAN_{key.upper()}": str(value) for key, value in settings.items()}
        env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("POINTSMAN_")},
            "PYTHONPATH": str(HERE),
            "POINTSMAN_NODE": "n",
            "POINTSMAN_REDIS_URL": house.url,
            "POINTSMAN_RUNTIME_DIR": str(house.folder),
            "POINTSMAN_DATA_DIR": str(house.folder / "data"),
            **given,
        }
        words = ["-m", "router.edge", "--fd", str(listener.fileno()), "--life-fd", str(house.life)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words, "--router-id", name],
                env=env,
                cwd=HERE,
                pass_fds=[listener.fileno(), house.life],
                stdout=log,
                stderr=log,
            )
        listener.close()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        self.watched = psutil.Process(self.process.pid)
        until(self._ready, 20)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def fds(self) -> int:
        """Open descriptors of the process."""
        return self.watched.num_fds()

    def counted(self, status: int) -> int:
        """How many requests the router says it answered with that status."""
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.house.folder / f"{self.name}.sock"))
        ) as c:
            document = c.get("http://router/metrics.json").json()
        (series,) = [rows for name, _, _, rows in document["counters"] if name == "pointsman_requests_total"]
        return sum(value for labels, value in series if labels[3] == str(status))

    @contextmanager
    def growth(self) -> Iterator[list[int]]:
        """Samples the resident memory; the list holds the highest growth (bytes) at the end."""
        base, found, over = self.watched.memory_info().rss, [0], threading.Event()

        def sample() -> None:
            while not over.wait(0.01):
                found[0] = max(found[0], self.watched.memory_info().rss - base)

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield found
        finally:
            over.set()
            thread.join()

    def wire(self, receive_buffer: int | None = None) -> Wire:
        """A raw connection."""
        return Wire(self.port, receive_buffer)

    def stop(self) -> None:
        """Ends the process."""
        self.client.close()
        self.process.kill()
        self.process.wait()


class Wire:
    """A raw connection to a listener; every wait has an end."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self.buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """All of it."""
        self.socket.sendall(data)

    def send_quietly(self, data: bytes) -> None:
        """The same where the other side may have closed already."""
        with suppress(ConnectionError):
            self.send(data)

    def ask(self, method: str, path: str, *headers: str, body: bytes | None = None) -> None:
        """A request; with a body its length goes along."""
        lines = [f"{method} {path} HTTP/1.1", "host: gate.test", *headers]
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`; ConnectionError at the end of the stream."""
        while mark not in self.buffer:
            self._more()
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        return int(first.split(" ")[1]), {
            name.lower(): text for name, _, text in (line.partition(": ") for line in lines if line)
        }

    def exactly(self, size: int) -> bytes:
        """So many bytes."""
        while len(self.buffer) < size:
            self._more()
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def json(self) -> tuple[int, dict[str, str], Any]:
        """A whole answer."""
        status, headers = self.head()
        return status, headers, json.loads(self.exactly(int(headers["content-length"])) or b"null")

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        while True:
            try:
                self._more()
            except ConnectionError:
                found, self.buffer = self.buffer, b""
                return found

    def _more(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise ConnectionError(f"closed after {self.buffer[:200]!r}")
        self.buffer += data


class Neighbour:
    """A test replica's process, asked directly over its socket."""

    def __init__(self, folder: Path, name: str, *options: str) -> None:
        self.name = name
        self.path = folder / f"{name}.s"
        words = ["-m", "tests.edge.replica", "--socket", str(self.path), "--name", name, *options]
        self.process = subprocess.Popen([sys.executable, *words], cwd=HERE)
        self.client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.path)), base_url="http://replica", timeout=10
        )

    @property
    def state(self) -> dict[str, Any]:
        """What it sent, received and saw."""
        return dict(self.client.get("/state").json())

    def open(self, name: str) -> None:
        """Lets a request that waits at its gate go on."""
        self.client.get("/open", params={"id": name})

    def stop(self) -> None:
        """Ends it."""
        self.client.close()
        self.process.kill()
        self.process.wait()


class House:
    """Model `m`: version 1 with replicas a and b (active), version 2 with replica c."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pm"))
        (self.folder / "data").mkdir()
        self.url = f"unix://{self.folder}/redis.s"
        self.life, self._life_end = os.pipe()
        self.neighbours: dict[str, Neighbour] = {}
        self.routers: list[RouterProcess] = []
        self._redis = self._start_redis()

    def _start_redis(self) -> subprocess.Popen[bytes]:
        binary = Path(sys.executable).with_name("redis-server")
        options = ["--port", "0", "--unixsocket", f"{self.folder}/redis.s", "--dir", str(self.folder)]
        process = subprocess.Popen([str(binary), *options, "--save", ""], stdout=subprocess.DEVNULL)

        def answers() -> bool:
            try:
                with redis.Redis.from_url(self.url) as client:
                    return bool(client.ping())
            except redis.RedisError:
                return False

        until(answers)
        return process

    def furnish(self) -> None:
        """Starts the replicas and the router, and routes `m` to version 1."""
        for name in "abc":
            self.neighbours[name] = Neighbour(self.folder, name)
        for version in "12":
            self.add_version("m", version)
        self.seat("m", "1", "a")
        self.seat("m", "1", "b")
        self.seat("m", "2", "c")
        self.promote("m", "1")
        self.main = self.router("r0.main")

    def router(self, name: str, **settings: Any) -> RouterProcess:
        """A further router with its own settings."""
        self.routers.append(RouterProcess(self, name, **settings))
        return self.routers[-1]

    def add_version(self, model: str, version: str) -> None:
        """Registers a version without a tensor signature and asks for one replica."""
        document: dict[str, Any] = {
            "apiVersion": "pointsman/v1",
            "kind": "Version",
            "model": model,
            "version": version,
            "runtime": "bento",
            "store": None,
            "digest": version.zfill(64),
            "artifacts": [],
        }
        self.registry(lambda registry: registry.add_version(document, ACTOR))
        self.registry(lambda registry: registry.deploy(model, version, 1, ACTOR))

    def seat(self, model: str, version: str, name: str, address: str | None = None) -> None:
        """Makes a neighbour (or what listens at `address`) a ready replica, once it listens."""
        if address is None:
            path = self.neighbours[name].path
            until(path.exists)
            address = f"unix:{path}"
        document = Replica(
            id=name,
            model=model,
            version=version,
            digest=version.zfill(64),
            address=address,
            pid=1,
            node="n",
            state="ready",
            since="2026-01-01T00:00:00Z",
        )
        self.registry(lambda registry: registry.put_replica(document))

    def promote(self, model: str, version: str) -> int:
        """Moves the pointer; returns when every router has it."""

        def moved(state: Any) -> Route:
            return Route(model=model, active=version)

        self.registry(lambda registry: registry.change_route(model, moved, ACTOR, "promote"))
        for router in [each for each in self.routers if each.process.poll() is None]:
            until(lambda router=router: self._active(router, model) == version)  # type: ignore[misc]
        return 1

    def _active(self, router: RouterProcess, model: str) -> str | None:
        path = str(self.folder / f"{router.name}.sock")
        with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
            routes = client.get("http://router/table.json").json()["routes"]
        return str(routes[model]["active"]) if model in routes else None

    def registry(self, work: Callable[[Registry], Coroutine[Any, Any, Any]]) -> Any:
        """Does something with the registry."""

        async def run() -> Any:
            client = connect(self.url)
            try:
                return await work(Registry(client))
            finally:
                await client.aclose()

        return asyncio.run(run())

    def records(self, request_id: str) -> list[dict[str, Any]]:
        """The records of a request, streams merged."""
        return list(Reader(self.folder / "data" / "journal").find(request_id))

    def record(self, request_id: str) -> dict[str, Any]:
        """Its one record, once it is complete."""

        def complete() -> list[dict[str, Any]]:
            found = self.records(request_id)
            return found if found and found[0].get("status") is not None else []

        found = until(complete, 5)
        assert len(found) == 1, found
        return found[0]

    def close(self) -> None:
        """Ends everything and removes the folder."""
        for router in self.routers:
            router.stop()
        for neighbour in self.neighbours.values():
            neighbour.stop()
        self._redis.kill()
        self._redis.wait()
        os.close(self._life_end)
        os.close(self.life)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """One for all of these tests."""
    made = House()
    try:
        made.furnish()
        yield made
    finally:
        made.close()


@pytest.fixture
def router(house: House) -> RouterProcess:
    """The house's router with default settings; version 1 is active."""
    return house.main


@pytest.fixture
def fresh_id() -> str:
    """A request id nobody used."""
    return f"t-{os.urandom(6).hex()}"
