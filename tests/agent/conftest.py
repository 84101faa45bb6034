"""A folder of its own for each test, and a real Redis in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from router.agent.embedded import EmbeddedRedis
from router.agent.place import Place, claim
from tests.agent.waiting import until
from tests.services import models


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path (sockets), with runtime and state folders in it."""
    with tempfile.TemporaryDirectory(prefix="pm-test-") as folder:
        home = Path(folder)
        for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            (home / name.lower()).mkdir(mode=0o700)
            monkeypatch.setenv(name, str(home / name.lower()))
        yield home


@pytest.fixture
def place(home: Path) -> Iterator[Place]:
    """A claimed place."""
    claimed = claim(home / "data")
    yield claimed.place
    claimed.release(clean=True)


class Server:
    """A Redis of the test, which may be killed and started again."""

    def __init__(self, embedded: EmbeddedRedis) -> None:
        self.embedded = embedded
        self.life, self._life_end = os.pipe()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.embedded.server(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self.ping)

    def ping(self) -> bool:
        with redis.Redis.from_url(self.embedded.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(5)
            self.process = None

    def close(self) -> None:
        self.kill()
        os.close(self.life)
        os.close(self._life_end)


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    """A running Redis in the place."""
    found = Server(EmbeddedRedis(place.redis, place.redis_socket))
    found.start()
    yield found
    found.close()


class Stored(NamedTuple):
    """An artifact store with one version in it, and its document."""

    folder: Path
    document: dict[str, Any]


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Version 1 of model `m`, which answers what it was sent; registered by the real tool."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "m.onnx").write_bytes(models.identity())
    argv = [sys.executable, "-m", "services.inspect", "--artifact", str(folder / "m.onnx")]
    argv += ["--model", "m", "--version", "1", "--store"]
    env = os.environ | {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    done = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert answer["ok"], answer
    return Stored(folder / "bentoml", answer["document"])
