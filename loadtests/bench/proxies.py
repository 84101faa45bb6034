"""nginx as a plain proxy, the trivial upstream behind it, and that upstream as a replica of the gateway.

The upstream is nginx too: at its address it answers any request with 16 bytes, so that what is measured
is what stands before it.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from loadtests.bench.installation import Installation
from loadtests.bench.tree import Root
from loadtests.fleet import free_ports, wait_for
from router.clock import rfc3339
from router.documents import ModelState, Replica, Route
from router.registry.audit import Actor
from router.registry.connection import connect
from router.registry.registry import Registry

MISSING: Final = "nginx is not installed: apt-get install nginx-light"
ANSWER: Final = b'{"status":"good"}'
MODEL: Final = "trivial"

_HEAD: Final = """\
daemon off; master_process on; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000000;
"""
UPSTREAM: Final = (
    _HEAD
    + """\
  server {{
    listen {address};
    location / {{ default_type application/json; return 200 '{answer}'; }}
  }}
}}
"""
)
PROXY: Final = (
    _HEAD
    + """\
  upstream trivial {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://trivial; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
)


def installed() -> str | None:
    """The path of nginx, also where PATH leaves /usr/sbin out."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@dataclass(slots=True)
class Nginx:
    """One nginx with one worker, on a configuration and folder of its own."""

    folder: Path
    text: str
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        path = installed()
        if path is None:
            raise FileNotFoundError(MISSING)
        config = self.folder / "nginx.conf"
        config.write_text(self.text)
        command = [path, "-p", str(self.folder), "-c", str(config), "-e", str(self.folder / "error.log")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(self._running, 10, self._told)
        except BaseException:
            self.close()
            raise

    @property
    def roots(self) -> tuple[Root, ...]:
        """Master and worker."""
        return (Root(self.process.pid, lambda _: "nginx"),)

    def close(self) -> None:
        """Ends master and worker."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _running(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"nginx ended with {self.process.returncode}: {self._told()}")
        return (self.folder / "pid").exists()

    def _told(self) -> str:
        log = self.folder / "error.log"
        return log.read_text()[-1000:] if log.exists() else ""


def upstream(folder: Path) -> tuple[Nginx, str]:
    """The trivial upstream and its address, host and port."""
    folder.mkdir()
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    # Workers run as another user when the master is root's.
    folder.chmod(0o755)
    return Nginx(folder, UPSTREAM.format(folder=folder, address=address, answer=ANSWER.decode())), address


def proxy(folder: Path, address: str) -> tuple[Nginx, str]:
    """The plain proxy before `address`, and its own."""
    folder.mkdir()
    (port,) = free_ports(1)
    return Nginx(folder, PROXY.format(folder=folder, upstream=address, port=port)), f"http://127.0.0.1:{port}"


def seat(installation: Installation, address: str) -> None:
    """Makes the trivial upstream the active version of model `trivial`.

    It is no bento, so it is written into the registry as a replica of another host would be.
    """
    asyncio.run(_seat(installation, address))


async def _seat(installation: Installation, address: str) -> None:
    redis = connect(f"unix://{installation.runtime / 'redis.sock'}")
    actor = Actor("bench")
    digest = "0" * 64
    document: dict[str, object] = {
        "apiVersion": "pointsman/v1",
        "kind": "Version",
        "model": MODEL,
        "version": "1",
        "runtime": "bento",
        "store": None,
        "digest": digest,
        "artifacts": [],
        "signature": None,
        "rowwise": False,
        "golden": None,
    }
    replica = Replica(
        id=f"{MODEL}-1",
        model=MODEL,
        version="1",
        digest=digest,
        address=f"tcp:{address}",
        pid=0,
        node="bench",
        state="ready",
        since=rfc3339(time.time()),
    )

    def route(_: ModelState) -> Route:
        return Route(model=MODEL, active="1")

    try:
        registry = Registry(redis)
        await registry.add_version(document, actor)
        await registry.put_replica(replica)
        await registry.change_route(MODEL, route, actor, "promote")
    finally:
        await redis.aclose()
