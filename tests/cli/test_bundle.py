"""What is sent with a model: golden vectors and external data, nothing else."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from router.cli.bundle import bundle
from router.cli.refused import Refused


def with_external_data(folder: Path) -> Path:
    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 64])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph), path, save_as_external_data=True, location="weights.bin")
    return path


def names(artifact: Path, manifest: Path | None = None) -> list[str]:
    with bundle(artifact, manifest) as (name, file):
        assert name == "artifact.tar"
        with tarfile.open(fileobj=file) as archive:
            return archive.getnames()


def test_a_file_alone_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"bytes")
    with bundle(path, None) as (name, file):
        assert (name, file.read()) == ("m.onnx", b"bytes")


def test_an_empty_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    with bundle(path, None) as (_, file):
        assert file.read() == b""


def test_external_data_goes_along(tmp_path: Path) -> None:
    assert names(with_external_data(tmp_path)) == ["model.onnx", "weights.bin"]


def test_golden_vectors_go_along(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"bytes")
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text("{artifacts: [{path: model.onnx, sha256: ab}], golden: {inputs: golden.npz}}")
    with pytest.raises(Refused, match=r"golden\.npz"), bundle(path, manifest):
        pass
    (tmp_path / "golden.npz").write_bytes(b"vectors")
    assert names(path, manifest) == ["m.onnx", "golden.npz"]


def test_a_linked_file_is_sent_as_a_file(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "elsewhere")
    with bundle(path, None) as (_, file), tarfile.open(fileobj=file) as archive:
        assert archive.getmember("weights.bin").isreg()


def test_nothing_outside_the_folder_is_sent(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    path, manifest = folder / "m.onnx", folder / "manifest.yaml"
    path.write_bytes(b"bytes")
    manifest.write_text("golden: {inputs: ../secret}")
    with bundle(path, manifest) as (_, file):
        assert file.read() == b"bytes"
