"""What may become a version: the decision itself, in this process."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.artifact import sha256
from services.golden import GoldenVectors, read_golden, write_golden
from services.refusal import Refusal
from services.registration import open_source, register
from tests.services import models

Register = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def judged(folder: Path, tmp_path: Path) -> Register:
    """Writes model (and manifest) into `folder` and registers it."""

    def judge(data: bytes, manifest: str | None = None, *, artifact: Path | None = None) -> Any:
        (folder / "model.onnx").write_bytes(data)
        if manifest is not None:
            (folder / "manifest.yaml").write_text(manifest)
        source = open_source(artifact or folder, None, tmp_path)
        return register(source, "m", "1", tmp_path / "stage")

    return judge


def code_of(judged: Register, *arguments: Any, **named: Any) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as caught:
        judged(*arguments, **named)
    return caught.value.code, caught.value.field


def test_the_document_of_a_plain_file(judged: Register, tmp_path: Path) -> None:
    data = models.identity()
    document, report = judged(data)
    golden = document.pop("golden")
    assert document.pop("store").startswith("m:")
    assert document == {
        "apiVersion": "pointsman/v1",
        "kind": "Version",
        "model": "m",
        "version": "1",
        "runtime": "onnx",
        "digest": sha256(data),
        "artifacts": [{"path": "model.onnx", "sha256": sha256(data)}],
        "signature": {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        },
        "rowwise": True,
    }
    assert report["rowwise"] == {"rowwise": True, "reason": None}
    stored = (tmp_path / "stage" / "golden.npz").read_bytes()
    assert golden == {"inputs": "golden.npz", "atol": 1e-5, "sha256": sha256(stored), "generated": True}
    assert read_golden(stored).outputs["y"].shape == (8, 3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no model", "not_onnx"),
        (models.one_node("Frobnicate"), "unknown_operator"),
        (models.one_node("Frobnicate", domain="com.microsoft"), "unloadable"),
        (models.one_node("Relu", axis=7), "unloadable"),
        (models.external("../w.bin", np.zeros(300, np.float32)), "path_outside"),
        (models.external("w.bin", np.zeros(300, np.float32)), "artifact_missing"),
        (models.external("model.onnx", np.zeros(300, np.float32)), "path_outside"),
    ],
)
def test_files_that_are_refused(judged: Register, data: bytes, code: str) -> None:
    assert code_of(judged, data)[0] in (code, "unknown_operator" if code == "unloadable" else code)


def test_external_data_behind_a_link_is_refused(judged: Register, folder: Path, tmp_path: Path) -> None:
    weights = np.zeros(300, np.float32)
    (tmp_path / "secret").write_bytes(weights.tobytes())
    (folder / "w.bin").symlink_to(tmp_path / "secret")
    assert code_of(judged, models.external("w.bin", weights))[0] == "artifact_link"


def test_external_data_becomes_part_of_the_artifact(judged: Register, folder: Path, tmp_path: Path) -> None:
    weights = np.arange(300, dtype=np.float32)
    (folder / "sub").mkdir()
    (folder / "sub" / "w.bin").write_bytes(weights.tobytes())
    document, _ = judged(models.external("sub/w.bin", weights))
    assert [file["path"] for file in document["artifacts"]] == ["model.onnx", "sub/w.bin"]
    assert document["digest"] != document["artifacts"][0]["sha256"]
    assert (tmp_path / "stage" / "sub" / "w.bin").read_bytes() == weights.tobytes()


def test_a_tar_is_taken_with_its_manifest(judged: Register, folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").write_bytes(models.identity())
    (folder / "manifest.yaml").write_text("metrics: {acc: 0.5}")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(folder, ".")
    document, _ = judged(models.identity(), artifact=tmp_path / "a.tar.gz")
    assert document["metrics"] == {"acc": 0.5}


def test_what_the_manifest_says_must_be_true(judged: Register) -> None:
    data = models.identity()
    assert code_of(judged, data, "model: other") == ("manifest_mismatch", "model")
    assert code_of(judged, data, 'version: "7"') == ("manifest_mismatch", "version")
    wrong = f"artifacts: [{{path: model.onnx, sha256: {sha256(b'')}}}]"
    assert code_of(judged, data, wrong) == ("artifact_altered", "artifacts[0].sha256")
    wide = "signature: {inputs: [{name: x, datatype: FP32, shape: [-1, -1]}], outputs: [%s]}"
    output = "{name: y, datatype: FP32, shape: [-1, 3]}"
    assert code_of(judged, data, wide % output) == ("signature_mismatch", "signature.inputs[0].shape")


def test_a_signature_that_only_running_disproves(judged: Register, folder: Path) -> None:
    # The file does not state the output's rank, so only its answer can tell.
    data = models.model(
        [models.helper.make_node("Reshape", ["x", "s"], ["y"])],
        [models.value("x", [None, 3]), models.value("s", ["r"], "INT64")],
        [models.value("y", None)],
    )
    text = """signature:
  inputs: [{name: x, datatype: FP32, shape: [-1, 3]}, {name: s, datatype: INT64, shape: [2]}]
  outputs: [{name: y, datatype: FP32, shape: [-1]}]
golden: {inputs: golden.npz}"""
    x = np.zeros((2, 3), np.float32)
    vectors = GoldenVectors({"x": x, "s": np.array([3, 2])}, {"y": x.reshape(3, 2)})
    (folder / "golden.npz").write_bytes(write_golden(vectors))
    assert code_of(judged, data, text) == ("signature_mismatch", "signature.outputs[0].shape")


def test_golden_vectors_are_checked(judged: Register, folder: Path) -> None:
    data, text = models.identity(), "golden: {inputs: golden.npz, atol: 1.0e-4}"
    assert code_of(judged, data, text) == ("golden_missing", "golden.inputs")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)

    def written(vectors: GoldenVectors) -> None:
        (folder / "golden.npz").write_bytes(write_golden(vectors))

    written(GoldenVectors({"x": x}, {"y": x + 1}))
    assert code_of(judged, data, text) == ("golden_mismatch", "y")
    written(GoldenVectors({"x": x}, {}))
    assert code_of(judged, data, text) == ("golden_invalid", "golden.inputs")
    written(GoldenVectors({"x": x[0]}, {"y": x[0]}))
    assert code_of(judged, data, text) == ("golden_invalid", "x")
    written(GoldenVectors({"x": x}, {"y": x}))
    document, report = judged(data, text)
    assert document["golden"]["atol"] == 1e-4
    assert report["golden"] == {"outputs": ["y"], "generated": False}


def test_rowwise_is_found_out_and_a_false_yes_refused(judged: Register) -> None:
    assert judged(models.centring())[0]["rowwise"] is False
    assert judged(models.one_node("Softmax", axis=0))[0]["rowwise"] is False
    assert code_of(judged, models.centring(), "rowwise: true") == ("not_rowwise", "rowwise")
    assert code_of(judged, models.identity("FP32", [4, 3]), "rowwise: true") == ("not_rowwise", "rowwise")


def test_the_manifest_may_say_no(judged: Register) -> None:
    assert judged(models.identity(), "rowwise: false")[0]["rowwise"] is False


def test_one_golden_row_does_not_hide_a_dependence(judged: Register, folder: Path) -> None:
    x = np.ones((1, 3), np.float32)
    (folder / "golden.npz").write_bytes(write_golden(GoldenVectors({"x": x}, {"y": x - x})))
    assert (
        code_of(judged, models.centring(), "{rowwise: true, golden: {inputs: golden.npz}}")[0]
        == "not_rowwise"
    )


def test_zipmap_classes_are_reported(judged: Register) -> None:
    document, report = judged(models.classifier(zipmap=True, strings=True))
    assert report["zipmap"] == {"probabilities": ["a", "b", "c"]}
    assert document["signature"]["outputs"][1] == {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": [-1, 3],
    }


def test_inputs_of_unknown_rank_need_a_signature(judged: Register) -> None:
    data = models.model(
        [models.helper.make_node("Identity", ["x"], ["y"])],
        [models.value("x", None)],
        [models.value("y", None)],
    )
    assert code_of(judged, data) == ("signature_needed", "signature")
    spec = "[{name: %s, datatype: FP32, shape: [-1, 2]}]"
    text = f"signature: {{inputs: {spec % 'x'}, outputs: {spec % 'y'}}}"
    assert judged(data, text)[0]["rowwise"] is True


def test_a_model_that_made_up_inputs_cannot_run_needs_golden_vectors(judged: Register) -> None:
    data = models.model(
        [models.helper.make_node("Gather", ["table", "x"], ["y"])],
        [models.value("x", [None], "INT64")],
        [models.value("y", [None])],
        [models.numpy_helper.from_array(np.zeros(1, np.float32), "table")],
    )
    assert code_of(judged, data) == ("golden_needed", "golden")


def test_tensors_without_a_datatype_are_refused(judged: Register) -> None:
    kind = models.T.BFLOAT16
    info = [models.helper.make_tensor_value_info(name, kind, [None, 3]) for name in ("x", "y")]
    data = models.model([models.helper.make_node("Identity", ["x"], ["y"])], info[:1], info[1:])
    assert code_of(judged, data)[0] == "unsupported_type"


def test_two_models_in_one_folder_are_refused(judged: Register, folder: Path) -> None:
    (folder / "a.onnx").write_bytes(b"")
    (folder / "b.onnx").write_bytes(b"")
    (folder / "model.onnx").unlink(missing_ok=True)
    with pytest.raises(Refusal, match=r"one \.onnx file"):
        register(open_source(folder, None, folder), "m", "1", folder / "stage")


def test_a_link_as_the_artifact_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to(folder)
    with pytest.raises(Refusal) as caught:
        open_source(tmp_path / "link.onnx", None, tmp_path)
    assert caught.value.code == "artifact_link"
