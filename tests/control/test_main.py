"""The control process itself: inherited socket, SIGTERM, the pipe's end, kill -9 under an inspection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.control.installation import KEY, until
from tests.control.test_versions import affine


class Process:
    """`python -m router.control` as `up` starts it."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        (folder / "admin.key").write_text(KEY)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        life, self.end = os.pipe()
        names = {"DATA_DIR": folder, "REDIS_URL": redis_url, "RUNTIME_DIR": folder, "NODE": "here"}
        environment = os.environ | {f"POINTSMAN_{name}": str(value) for name, value in names.items()}
        fds = (self._listener.fileno(), life)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "router.control", "--fd", str(fds[0]), "--life-fd", str(life)],
            env=environment,
            pass_fds=fds,
            stderr=subprocess.DEVNULL,
        )
        os.close(life)
        self.client = httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"authorization": f"Bearer {KEY}"}, timeout=20
        )
        # The socket is ours: the connection waits in its queue until the process is there.
        assert httpx.get(f"{self.url}/readyz", timeout=20).status_code == 200

    def close(self) -> None:
        """Ends all."""
        self.client.close()
        self._listener.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.end)


@pytest.fixture
def control(redis_url: str, tmp_path: Path) -> Iterator[Process]:
    process = Process(redis_url, tmp_path)
    yield process
    process.close()


def test_sigterm_ends_it_soon_and_well(control: Process) -> None:
    assert control.client.get("/models").json() == {"models": [], "next": None}
    started = time.monotonic()
    control.process.send_signal(signal.SIGTERM)
    assert control.process.wait(6) == 0
    assert time.monotonic() - started < 5


def test_it_ends_with_the_pipe(control: Process) -> None:
    os.close(control.end)
    control.process.wait(3)
    control.end = os.open(os.devnull, os.O_RDONLY)


def test_kill_9_leaves_no_inspection_behind(control: Process) -> None:
    body = b'--b\r\ncontent-disposition: form-data; name="artifact"\r\n\r\n' + affine() + b"\r\n--b--\r\n"
    host, port = control.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        head = (
            "POST /api/v1/models/affine/versions HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {KEY}\r\ncontent-type: multipart/form-data; boundary=b\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        caller.sendall(head.encode() + body)
        found: list[psutil.Process] = []

        def inspecting() -> bool:
            try:
                found[:] = psutil.Process(control.process.pid).children(recursive=True)
                return any(process.cmdline()[1:3] == ["-m", "services.inspect"] for process in found)
            except psutil.NoSuchProcess:
                return False

        until(inspecting, 15)
        control.process.kill()
        until(lambda: not any(process.is_running() for process in found), 3)
