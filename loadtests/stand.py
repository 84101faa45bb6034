"""One router alone before simulated replicas, with a Redis of its own: loads that no real model gives exactly."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil

from bentos.build import HERE
from loadtests.fleet import wait_for
from loadtests.redis_servers import Server
from router.documents import ModelState, Replica, Route
from router.registry.audit import Actor
from router.registry.connection import connect
from router.registry.registry import Registry

ROOT = HERE.parent
ACTOR = Actor("proof")
ROUTER = "r0.stand"
SIGNATURE = {
    "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1, 1]}],
    "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1, 1]}],
}
PATH = "/v1/models/m:predict"


class Stand:
    """Model `m`, version 1, not row-wise, so that every request is a call of its own."""

    def __init__(
        self, replicas: int, *, call_ms: float = 5.0, status: int = 200, env: dict[str, str] | None = None
    ) -> None:
        """`env`: settings of the router."""
        self.folder = Path(tempfile.mkdtemp(prefix="pm-"))
        self._redis = Server()
        self._life, self._life_end = os.pipe()
        self._children: list[subprocess.Popen[bytes]] = []
        self._sockets = [self.folder / f"s{number}" for number in range(replicas)]
        self._simulated = ["--call-ms", str(call_ms), "--status", str(status)]
        self._env = env or {}
        self.port = 0

    def __enter__(self) -> Stand:
        try:
            self._redis.start()
            for path in self._sockets:
                words = ["loadtests.simulated", "--socket", str(path), *self._simulated]
                self._start(words, [])
            wait_for(lambda: all(path.exists() for path in self._sockets), 20)
            asyncio.run(self._register())
            self._start_router()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._life_end)  # all of them end by it
        for child in self._children:
            child.wait(10)
        os.close(self._life)
        self._redis.kill()
        shutil.rmtree(self._redis.folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what it tells -------------------------------------------------------------------------------------

    def calls(self) -> int:
        """Requests that the replicas got."""
        found = 0
        for path in self._sockets:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
                found += client.get("http://replica/count").json()["calls"]
        return found

    def memory(self) -> int:
        """Resident bytes of the router."""
        return int(psutil.Process(self._children[-1].pid).memory_info().rss)

    # -- starting ------------------------------------------------------------------------------------------

    def _start(self, words: list[str], fds: list[int], env: dict[str, str] | None = None) -> None:
        with (self.folder / "out.log").open("ab") as log:
            self._children.append(
                subprocess.Popen(
                    [sys.executable, "-m", *words, "--life-fd", str(self._life)],
                    cwd=ROOT,
                    env={**os.environ, **(env or {})},
                    pass_fds=[self._life, *fds],
                    stdout=log,
                    stderr=log,
                )
            )

    def _start_router(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = int(listener.getsockname()[1])
        env = {
            "POINTSMAN_NODE": "n",
            "POINTSMAN_REDIS_URL": self._redis.url,
            "POINTSMAN_RUNTIME_DIR": str(self.folder),
            "POINTSMAN_DATA_DIR": str(self.folder / "data"),
            **self._env,
        }
        (self.folder / "data").mkdir()
        words = ["router.edge", "--fd", str(listener.fileno()), "--router-id", ROUTER]
        self._start(words, [listener.fileno()], env)
        listener.close()
        wait_for(self._ready, 20, lambda: (self.folder / "out.log").read_text()[-3000:])

    def _ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    async def _register(self) -> None:
        document: dict[str, Any] = {
            "apiVersion": "pointsman/v1", "kind": "Version", "model": "m", "version": "1", "runtime": "onnx",
            "store": None, "digest": "1".zfill(64), "artifacts": [], "signature": SIGNATURE, "rowwise": False,
        }  # fmt: skip

        def moved(_: ModelState) -> Route:
            return Route(model="m", active="1")

        client = connect(self._redis.url)
        try:
            registry = Registry(client)
            await registry.add_version(document, ACTOR)
            await registry.deploy("m", "1", len(self._sockets), ACTOR)
            for path in self._sockets:
                replica = Replica(
                    id=path.name, model="m", version="1", digest=document["digest"], address=f"unix:{path}",
                    pid=1, node="n", state="ready", since="2026-01-01T00:00:00Z",
                )  # fmt: skip
                await registry.put_replica(replica)
            await registry.change_route("m", moved, ACTOR, "promote")
        finally:
            await client.aclose()
