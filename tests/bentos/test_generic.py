"""The generic bento: built once by `bentoml build`, served by the public `bentoml serve`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.artifact import Artifact
from services.graph import examine
from services.session import Session
from tests.services import models
from tests.services.processes import ROOT, environment, inspect


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bentoml")


@pytest.fixture(scope="module")
def tag(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bentos.build", "--bento"],
        cwd=ROOT,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextlib.contextmanager
def served(home: Path, tag: str, folder: Path, **variables: str) -> Iterator[str]:
    """The address of `bentoml serve TAG`, ready; interrupted at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environment(home, PROMETHEUS_MULTIPROC_DIR=str(folder / "metrics"), **variables),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 40
        while not ready(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


def ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_the_public_server_gives_the_same_predictions(home: Path, tag: str, tmp_path: Path) -> None:
    data = models.classifier(zipmap=True)
    (tmp_path / "model.onnx").write_bytes(data)
    stored = inspect(home, tmp_path / "model.onnx", "--store", model="public")["document"]["store"]
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    wanted = dict(Session(Artifact(data, {}, ()), examine(data)).run({"x": x})[0])
    with served(home, tag, tmp_path, POINTSMAN_STORE=stored) as address:
        request = urllib.request.Request(
            f"{address}/predict",
            json.dumps({"inputs": {"x": x.tolist()}}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            found = json.load(answer)["outputs"]
    assert found["label"] == wanted["label"].tolist()
    np.testing.assert_array_equal(np.asarray(found["probabilities"], np.float32), wanted["probabilities"])


def test_building_again_builds_nothing(home: Path, tag: str) -> None:
    name, _, version = tag.partition(":")
    folder = home / "bentos" / name / version
    assert (folder / "src" / "services" / "onnx_service.py").is_file()
    before = (folder / "bento.yaml").stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, "-m", "bentos.build", "--bento"],
        cwd=ROOT,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == tag
    assert (folder / "bento.yaml").stat().st_mtime_ns == before
