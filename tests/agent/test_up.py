"""The whole installation as its operator starts it: it comes, mends itself, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest

from router.agent.place import note_path, runtime_dir
from tests.agent.conftest import Stored
from tests.agent.waiting import alive, until

pytestmark = pytest.mark.fleet

RUN = """
import asyncio, sys
from router.agent.up import run
from router.settings import Settings
sys.exit(asyncio.run(run(Settings(), report=lambda line: print(line, flush=True))))
"""


class Up:
    """A running `up` with one router; ports are chosen by the system."""

    def __init__(self, data: Path, out: Path, **settings: str) -> None:
        self.runtime = runtime_dir(data.resolve())
        self.out = out
        named = {"data_dir": str(data), "port": "0", "control_port": "0"} | settings
        env = os.environ | {f"POINTSMAN_{name.upper()}": value for name, value in named.items()}
        with out.open("wb") as stream:
            argv = [sys.executable, "-c", RUN]
            self.process = subprocess.Popen(argv, env=env, stdout=stream, stderr=stream)
        self.everything: set[int] = {self.process.pid}

    def said(self, word: str, timeout: float = 60) -> str:
        """The rest of the first line that begins with `word`."""

        def find() -> str | None:
            lines = self.out.read_text().splitlines()
            return next((line[len(word) + 1 :] or "-" for line in lines if line.startswith(word)), None)

        return until(find, timeout) or ""

    def processes(self) -> dict[str, Any]:
        return dict(orjson.loads((self.runtime / "processes.json").read_bytes()))

    def replicas(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orjson.loads((self.runtime / "replicas.json").read_bytes())["replicas"]
        return [each for each in found if each["state"] == "ready"]

    def api(self, method: str, path: str, body: Any = None) -> Any:
        note = orjson.loads(note_path().read_bytes())
        headers = {"authorization": f"Bearer {Path(note['key_path']).read_text()}"}
        with httpx.Client(base_url=f"{note['url']}/api/v1", headers=headers, timeout=60) as client:
            answer = client.request(method, path, json=body)
        assert answer.status_code < 400, answer.text
        return answer.json()

    def count(self) -> set[int]:
        """Every process of it that was ever seen."""
        self.everything |= {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        return self.everything

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.count()
            self.process.send_signal(number)
        return self.process.wait(35)


@pytest.fixture
def data(home: Path, stored: Stored) -> Path:
    (home / "data").mkdir(mode=0o700)
    shutil.copytree(stored.folder, home / "data" / "bentoml")
    return home / "data"


@pytest.fixture
def up(data: Path, home: Path) -> Iterator[Up]:
    found = Up(data, home / "out")
    yield found
    found.stop()
    assert not [pid for pid in found.everything if alive(pid)]


def deploy(up: Up, stored: Stored, home: Path) -> None:
    """Version 1 of `m`, by the road an operator takes."""
    note = orjson.loads(note_path().read_bytes())
    headers = {"authorization": f"Bearer {Path(note['key_path']).read_text()}"}
    model = (stored.folder.parent / "m.onnx").read_bytes()
    with httpx.Client(base_url=note["url"], headers=headers, timeout=60) as client:
        files = {"artifact": ("m.onnx", model)}
        registered = client.post("/api/v1/models/m/versions", files=files)
    assert registered.status_code < 300, registered.text
    up.api("POST", "/models/m/versions/1/deploy?wait=60", {"replicas": 1})
    up.api("POST", "/models/m/promote", {"version": "1"})


def test_what_dies_comes_back_and_nothing_is_left(up: Up, stored: Stored, data: Path, home: Path) -> None:
    assert float(up.said("ready").split()[0]) < 15
    second = Up(data, home / "second")
    assert second.process.wait(10) == 1
    assert str(up.process.pid) in second.out.read_text()

    deploy(up, stored, home)
    (replica,) = up.replicas()
    up.count()

    before = up.processes()
    os.kill(before["agent"]["pid"], signal.SIGKILL)
    until(lambda: (up.processes()["agent"] or before["agent"]) != before["agent"])
    os.kill(before["routers"][0]["pid"], signal.SIGKILL)
    until(
        lambda: [each["id"] for each in up.processes()["routers"]] not in ([], [before["routers"][0]["id"]])
    )
    url = up.said("data")
    until(
        lambda: httpx.post(f"{url}/v1/models/m:predict", json={"instances": [[1, 2, 3]]}).status_code == 200
    )
    until(lambda: [each["id"] for each in up.api("GET", "/status")["routers"]] == [
        up.processes()["routers"][0]["id"]
    ])  # fmt: skip
    assert up.replicas() == [replica]  # adopted
    assert alive(replica["pid"])

    os.kill(before["redis"]["pid"], signal.SIGKILL)
    until(lambda: up.processes()["redis"]["pid"] not in (None, before["redis"]["pid"]))
    until(lambda: up.api("GET", "/models/m")["route"]["active"] == "1")

    os.kill(replica["pid"], signal.SIGKILL)  # an orphan of the first agent: `up` reaps it
    until(lambda: not psutil.pid_exists(replica["pid"]))
    until(lambda: [each["id"] for each in up.replicas()] not in ([], [replica["id"]]), 20)

    up.count()
    began = time.monotonic()
    assert up.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 30
    assert not [pid for pid in up.everything if alive(pid)]
    assert not up.runtime.exists()
    assert not note_path().exists()


def test_kill_9_leaves_nothing_and_the_next_start_knows_everything(
    up: Up, stored: Stored, data: Path, home: Path
) -> None:
    up.said("ready")
    deploy(up, stored, home)
    history = up.api("GET", "/models/m/history")
    everything = up.count()
    for stopped in (
        up.replicas()[0]["pid"],
        up.processes()["routers"][0]["pid"],
        up.processes()["redis"]["pid"],
    ):
        os.kill(stopped, signal.SIGSTOP)  # nobody may need to be awake to end
    up.stop(signal.SIGKILL)
    until(lambda: not [pid for pid in everything if alive(pid)], 3)

    again = Up(data, home / "again")
    again.said("ready")
    assert again.api("GET", "/models/m/history") == history
    url = again.said("data")
    answer = httpx.post(f"{url}/v1/models/m:predict", json={"instances": [[1, 2, 3]]})
    assert answer.headers["x-model-version"] == "1"
    assert again.stop() == 0
    assert not [pid for pid in again.everything if alive(pid)]


def test_it_starts_without_its_redis(data: Path, home: Path) -> None:
    dead = Up(data, home / "dead", redis_url=f"unix://{home}/no.sock")
    dead.said("control")
    until(lambda: dead.processes()["agent"])
    assert dead.process.poll() is None
    assert dead.stop() == 0
    assert not [pid for pid in dead.everything if alive(pid)]


def test_a_port_in_use_is_an_error_in_words(up: Up, home: Path) -> None:
    port = up.said("data").rpartition(":")[2]
    other = Up(home / "other", home / "out2", port=port)
    assert other.process.wait(15) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in other.out.read_text()
