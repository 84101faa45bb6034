"""The registration tool and replicas as real processes for the tests; nothing here is a test."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment with a model store of the test's own, and nothing reported home."""
    return {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", **more}


def inspect(home: Path, artifact: Path, *more: str, model: str = "m", version: str = "1") -> dict[str, Any]:
    """The verdict of `python -m services.inspect`; asserts that it exits with 0 and prints one document."""
    command = [sys.executable, "-m", "services.inspect", "--artifact", str(artifact), *more]
    command += ["--model", model, "--version", version]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


@dataclass
class Replica:
    """A running `services.launch` with its Unix socket and the test's end of its life pipe."""

    process: subprocess.Popen[bytes]
    socket_path: Path
    life: int

    def connect(self) -> socket.socket | None:
        """A connection, or None where nobody listens."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        try:
            client.connect(str(self.socket_path))
        except (ConnectionRefusedError, FileNotFoundError):
            client.close()
            return None
        return client

    def wait_ready(self, seconds: float = 30) -> None:
        """Returns when a connection succeeds; fails when the process ends or time is up."""
        deadline = time.monotonic() + seconds
        while True:
            client = self.connect()
            if client is not None:
                client.close()
                return
            assert self.process.poll() is None, f"the replica ended with {self.process.returncode}"
            assert time.monotonic() < deadline, "the replica did not become ready"
            time.sleep(0.01)

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """One exchange on a connection of its own: status, headers (lower case), body."""
        client = self.connect()
        assert client is not None
        connection = http.client.HTTPConnection("replica")
        connection.sock = client
        with contextlib.closing(connection):
            headers = {"content-type": "application/json"} if path == "/predict" else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def end_life(self) -> None:
        """Closes the writing end of the life pipe, as the death of `up` would."""
        if self.life >= 0:
            os.close(self.life)
            self.life = -1


@contextlib.contextmanager
def launch(home: Path, document: dict[str, Any], folder: Path, *more: str) -> Iterator[Replica]:
    """A replica of `document`; killed at the end if it is still there."""
    manifest = folder / "document.json"
    manifest.write_text(json.dumps(document))
    path = folder / "r.sock"
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "services.launch", "--manifest", str(manifest), "--socket", str(path)]
    command += ["--life-fd", str(reading), "--replica-id", "r1", *more]
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(home, PROMETHEUS_MULTIPROC_DIR=str(folder / "metrics")),
            pass_fds=[reading],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    os.close(reading)
    replica = Replica(process, path, writing)
    try:
        yield replica
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(10)
        replica.end_life()
