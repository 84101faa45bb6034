"""The models under load as files: breast-cancer 2 of this checkout, and those made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from bentos.build import HERE, build, recipes

SCORES = 8
FEATURES = 8
"""Of the numbered model: the row's number and seven more."""
NUMBERED_SCORES = 2


def gradient_boosting() -> Path:
    """The folder with model.onnx and manifest.yaml of breast-cancer 2, built if need be."""
    (recipe,) = recipes(("breast-cancer/2",))
    target = HERE / "build" / "breast-cancer" / "2"
    build(recipe, target)
    return target


def picture(folder: Path) -> Path:
    """A folder with a model from image [-1, 3, 224, 224] to scores [-1, 8], and its manifest.

    Mean brightness by channel, then one matrix: it costs next to nothing, so that the way of 588 KiB is
    what is measured.
    """
    target = folder / "picture"
    target.mkdir()
    weights = np.random.default_rng(22).standard_normal((3, SCORES)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        ],
        "picture",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", SCORES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    _write(target, graph, {})
    return target


def numbered(folder: Path) -> Path:
    """A folder with a row-wise model from x FP32 [-1, 8] to row INT64 [-1] and score FP32 [-1, 2].

    `row` is the first feature, the row's number, given back; `score` is a hyperbolic tangent of sums over the
    others, so that no two rows of noise have the same.
    """
    target = folder / "numbered"
    target.mkdir()
    weights = np.random.default_rng(24).standard_normal((FEATURES, NUMBERED_SCORES)).astype(np.float32) / 4
    weights[0] = 0
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "first"], ["number"], axis=1),
            helper.make_node("Cast", ["number"], ["row"], to=TensorProto.INT64),
            helper.make_node("MatMul", ["x", "weights"], ["sums"]),
            helper.make_node("Tanh", ["sums"], ["score"]),
        ],
        "numbered",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [
            helper.make_tensor_value_info("row", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", NUMBERED_SCORES]),
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.int64(0), "first")],
    )
    _write(target, graph, {"rowwise": True})
    return target


def _write(target: Path, graph: onnx.GraphProto, stated: dict[str, object]) -> None:
    """model.onnx and manifest.yaml."""
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    (target / "model.onnx").write_bytes(made.SerializeToString())
    manifest = {"apiVersion": "pointsman/v1", "kind": "Version", **stated}
    (target / "manifest.yaml").write_text(yaml.safe_dump(manifest))
