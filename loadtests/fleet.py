"""One whole installation under test: `pointsman up` on a folder of its own, driven by its public interfaces."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bentos.build import HERE, build, recipes

BIN = Path(sys.executable).parent


class Fleet:
    """Starts on construction of `start()`, ends with `stop()`; the folder goes with `remove()`."""

    def __init__(
        self, *, routers: int = 1, redis_url: str | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pm-fleet-"))
        self.data_dir = self.folder / "data"
        self.port, self.control_port = free_ports(2)
        self._options = ["--routers", str(routers)]
        if redis_url is not None:
            self._options += ["--redis-url", redis_url]
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
        own = {"XDG_STATE_HOME": str(self.folder / "state"), "BENTOML_HOME": str(self.folder / "bentoml")}
        self.env |= {**own, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.folder / "up.out"
        self.control = httpx.Client(base_url=f"http://127.0.0.1:{self.control_port}/api/v1", timeout=70)

    # -- life ----------------------------------------------------------------------------------------------

    def start(self, *, ready_s: float = 60.0) -> float:
        """Starts `up` and waits for /readyz; the seconds it took. Raises TimeoutError with the log's end."""
        words = ["up", "--data-dir", str(self.data_dir), "--port", str(self.port)]
        words += ["--control-port", str(self.control_port), *self._options]
        began = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(BIN / "pointsman"), *words],
                env=self.env,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        wait_for(lambda: self.ready() or self._ended(), ready_s, self.tail)
        key = (self.data_dir / "admin.key").read_text()
        self.control.headers["authorization"] = f"Bearer {key}"
        return time.monotonic() - began

    def stop(self, number: int = signal.SIGTERM, timeout: float = 35.0) -> int:
        """Sends a signal to `up` alone and waits for its end; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def remove(self) -> None:
        """Ends what still runs and removes the folder."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.control.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ready(self) -> bool:
        """Whether the data listener says so."""
        try:
            return httpx.get(f"{self.data}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def tail(self) -> str:
        """The ends of all logs, for a failure's message."""
        logs = [self.log, *sorted((self.data_dir / "logs").glob("*.log"))]
        return "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in logs if path.exists())

    def _ended(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"up ended with {self.process.returncode}\n{self.tail()}")
        return False

    # -- use -----------------------------------------------------------------------------------------------

    @property
    def data(self) -> str:
        """The data listener's address."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """One control call that must succeed (2xx); its JSON."""
        answer = self.control.request(method, path, **options)
        if not answer.is_success:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command, as on the machine that runs `up`: it finds address and key by itself."""
        return subprocess.run(
            [str(BIN / "pointsman"), *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def release(self, model: str, *versions: str, replicas: int = 1) -> None:
        """Builds, registers and deploys example versions; promotes nothing."""
        for folder in recipes(tuple(f"{model}/{version}" for version in versions)):
            built = HERE / "build" / model / folder.name
            build(folder, built)
            words = ["register", str(built / "model.onnx"), "--manifest", str(built / "manifest.yaml")]
            done = self.cli(*words, "--model", model, "--version", folder.name, "--json")
            assert done.returncode == 0, done.stderr
            self.ask(
                "POST",
                f"/models/{model}/versions/{folder.name}/deploy",
                params={"wait": 60},
                json={"replicas": replicas},
            )

    def promote(self, model: str, version: str) -> dict[str, Any]:
        """Makes a version active; the answer's JSON, whatever its status."""
        answer = self.control.post(f"/models/{model}/promote", json={"version": version})
        return {**answer.json(), "status": answer.status_code}

    def status(self) -> dict[str, Any]:
        """`status --json`."""
        return dict(self.ask("GET", "/status"))

    def records(self, **filters: Any) -> list[dict[str, Any]]:
        """Every record, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {"limit": 1000, **filters} | ({"cursor": cursor} if cursor else {})
            page = self.ask("GET", "/requests", params=params)
            found += page["requests"]
            cursor = page["next"]
            if cursor is None:
                return found


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on right now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(condition: Callable[[], object], timeout: float, told: Callable[[], str] = str) -> None:
    """Polls until the condition holds; raises TimeoutError with what `told` says."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout} s\n{told()}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
