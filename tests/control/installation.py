"""A control process of real parts in a thread of the test: app, server, Redis; its routers are coroutines."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import uvicorn
import uvloop

from router.control.__main__ import server_config
from router.control.app import control_app
from router.control.away import SOCKET_S
from router.control.plane import Plane, make_plane
from router.documents import Replica, RouterLease
from router.registry import keys
from router.registry.audit import Actor
from router.registry.connection import connect, replicas_awaited
from router.registry.registry import Registry
from router.settings import Settings

T = TypeVar("T")
KEY = "a-key-of-this-test"
TESTER = Actor(name="tester")


def document(model: str, version: str) -> dict[str, Any]:
    """A version document as the registration tool makes them."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    return {
        "apiVersion": "pointsman/v1",
        "kind": "Version",
        "model": model,
        "version": version,
        "runtime": "onnx",
        "store": f"{model}:{version}",
        "digest": f"{version:0>64}"[:64],
        "artifacts": [{"path": "model.onnx", "sha256": f"{version:0>64}"[:64]}],
        "signature": {"inputs": [tensor], "outputs": [tensor | {"name": "y"}]},
        "rowwise": True,
        "golden": None,
        "metrics": {"accuracy": 0.9},
    }


def replica(model: str, version: str, **others: Any) -> Replica:
    """A ready replica, unless told otherwise."""
    fields: dict[str, Any] = {
        "id": f"{model}-{version}-0",
        "digest": f"{version:0>64}",
        "address": "unix:/nowhere.sock",
        "pid": 4711,
        "node": "here",
        "state": "ready",
        "since": "2026-01-01T00:00:00.000000Z",
    }
    return Replica(model=model, version=version, **(fields | others))


class FakeRouter:
    """Acknowledges what it reads, as a router does; `refusing` and `mute` make it a laggard."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.mute = False
        self.refusing: str | None = None
        self.model = "digits"
        self._registry = Registry(connect(url))

    async def run(self) -> None:
        """Follows the hints until cancelled."""
        async with self._registry.redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(keys.HINT)
            try:
                while True:
                    await self.acknowledge()
                    await channel.get_message(timeout=0.2)
            finally:
                await self._registry.close()

    async def acknowledge(self) -> None:
        """Once."""
        if self.mute:
            return
        revision = await self._registry.revision()
        if self.mute:  # meanwhile: what was read may be what it must not acknowledge
            return
        await self._registry.acknowledge(
            RouterLease(
                id=self.name,
                node="here",
                pid=1,
                revision=revision,
                highest=revision,
                refused={} if self.refusing is None else {self.model: self.refusing},
            )
        )


class QuickServer(uvicorn.Server):
    """Ends when told, not at the next tenth of a second: there are hundreds of tests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told = asyncio.Event()

    async def main_loop(self) -> None:
        await self.told.wait()
        while self.server_state.connections:  # the client has closed; the loop has yet to hear of it
            await asyncio.sleep(0.001)


class Installation:
    """`with Installation(url, tmp_path) as here`: `here.client` speaks to it with the key."""

    def __init__(self, redis_url: str, folder: Path, **settings: Any) -> None:
        self.url = ""
        self.redis_url = redis_url
        self.settings = Settings(data_dir=folder, redis_url=redis_url, **settings)
        self.plane: Plane
        self.client: httpx.Client
        self._loop = uvloop.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._server: QuickServer
        self._routers: list[asyncio.Task[None]] = []
        self._sockets: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        self.client = httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"authorization": f"Bearer {KEY}"}, timeout=20
        )
        until(lambda: self.plane.acknowledgements.subscribed.is_set())
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._loop.call_soon_threadsafe(self._server.told.set)
        self._thread.join(15)
        assert not self._thread.is_alive()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the loop of the control process."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(15)

    @property
    def registry(self) -> Registry:
        """Its registry; use it by `call`."""
        return self.plane.registry

    def router(self, name: str) -> FakeRouter:
        """A router that is known when this returns."""
        router = FakeRouter(self.redis_url, name)

        async def start() -> None:
            await router.acknowledge()
            self._routers.append(asyncio.ensure_future(router.run()))

        self.call(start())
        return router

    def listen(self, path: Path, serve: Callable[..., Coroutine[Any, Any, None]]) -> None:
        """A server on a Unix socket, in the loop of the control process."""

        async def start() -> None:
            self._sockets.append(await asyncio.start_unix_server(serve, path))

        self.call(start())

    def versions(self, model: str, *versions: str, warm: bool = True) -> None:
        """Registered versions; `warm`: deployed, with a ready replica."""

        async def add() -> None:
            for version in versions:
                await self.registry.add_version(document(model, version), TESTER)
                if warm:
                    await self.registry.deploy(model, version, 1, TESTER)
                    await self.registry.put_replica(replica(model, version))

        self.call(add())

    def post(self, path: str, body: object = None, **kwargs: Any) -> httpx.Response:
        """A POST under /api/v1."""
        return self.client.post(path, json=body, **kwargs)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        registry = Registry(connect(self.redis_url, timeout=SOCKET_S), replicas_awaited(self.redis_url))
        self.plane = make_plane(self.settings, registry)
        self._server = QuickServer(server_config(control_app(self.plane, KEY), self.plane.settings))
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.ensure_future(self._server.serve(sockets=[listener]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)
        self._ready.set()
        await serving
        for listening in self._sockets:
            listening.close()
        for task in self._routers:
            task.cancel()
        await asyncio.gather(*self._routers, return_exceptions=True)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Looks until the condition holds; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
