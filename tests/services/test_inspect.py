"""The registration tool as the process it is: one document, limits, the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.artifact import sha256
from services.document import read_document
from tests.services import models
from tests.services.processes import inspect


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "any name.onnx"
    path.write_bytes(models.identity())
    return path


def test_storing_twice_is_storing_once(home: Path, artifact: Path) -> None:
    first = inspect(home, artifact, "--store")
    again = inspect(home, artifact, "--store", version="2")
    assert first["ok"]
    assert first["document"]["store"] == again["document"]["store"]
    name, _, version = first["document"]["store"].partition(":")
    folder = home / "models" / name / version
    assert (folder / "model.onnx").read_bytes() == artifact.read_bytes()
    assert sha256((folder / "golden.npz").read_bytes()) == first["document"]["golden"]["sha256"]
    # A damaged entry is put right, not believed.
    (folder / "model.onnx").write_bytes(b"damaged")
    assert inspect(home, artifact, "--store")["ok"]
    assert (folder / "model.onnx").read_bytes() == artifact.read_bytes()


def test_without_store_nothing_is_stored(home: Path, artifact: Path) -> None:
    verdict = inspect(home, artifact, model="nowhere")
    assert verdict["document"]["store"] is None
    assert not (home / "models" / "nowhere").exists()


def test_a_model_name_that_bentoml_would_not_take(home: Path, artifact: Path) -> None:
    verdict = inspect(home, artifact, "--store", model="odd.-")
    assert verdict["document"]["store"].startswith("odd:")
    assert read_document(json.dumps(verdict["document"]).encode()).model == "odd.-"


def test_refusals_are_documents_too(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"rubbish")
    assert inspect(home, tmp_path / "x.onnx")["code"] == "not_onnx"
    assert inspect(home, tmp_path / "absent.onnx")["code"] == "artifact_missing"
    assert inspect(home, tmp_path / "x.onnx", model="Bad Name")["field"] == "model"


def _endless() -> bytes:
    """y = x, added to itself for ever."""
    helper = models.helper
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["c2"]),
            helper.make_node("Mul", ["v", "v"], ["v2"]),
        ],
        "body",
        [models.value("i", [], "INT64"), models.value("c", [], "BOOL"), models.value("v", [None, 3])],
        [models.value("c2", [], "BOOL"), models.value("v2", [None, 3])],
    )
    return models.model(
        [helper.make_node("Loop", ["n", "t", "x"], ["y"], body=body)],
        [models.value("x", [None, 3])],
        [models.value("y", [None, 3])],
        [
            models.numpy_helper.from_array(np.array(2**62), "n"),
            models.numpy_helper.from_array(np.array(True), "t"),
        ],
    )


def test_a_model_that_never_ends_is_stopped(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(_endless())
    assert inspect(home, tmp_path / "x.onnx", "--timeout", "2")["code"] == "time_limit"
    assert inspect(home, tmp_path / "x.onnx", "--cpu-seconds", "2")["code"] == "cpu_limit"


def test_a_model_that_wants_all_memory_is_refused(home: Path, tmp_path: Path) -> None:
    data = models.model(
        [models.helper.make_node("Expand", ["x", "s"], ["y"])],
        [models.value("x", [1])],
        [models.value("y", [None])],
        [models.numpy_helper.from_array(np.array([2**33]), "s")],
    )
    (tmp_path / "x.onnx").write_bytes(data)
    assert inspect(home, tmp_path / "x.onnx")["code"] == "memory_limit"


def test_wrong_usage_is_no_verdict(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.inspect"],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
