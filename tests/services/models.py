"""Tiny ONNX models for the tests, made with onnx.helper; nothing here is a test."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto as T
from onnx import helper, numpy_helper

ONNX_TYPES = {
    "BOOL": T.BOOL,
    "UINT8": T.UINT8,
    "UINT16": T.UINT16,
    "UINT32": T.UINT32,
    "UINT64": T.UINT64,
    "INT8": T.INT8,
    "INT16": T.INT16,
    "INT32": T.INT32,
    "INT64": T.INT64,
    "FP16": T.FLOAT16,
    "FP32": T.FLOAT,
    "FP64": T.DOUBLE,
    "BYTES": T.STRING,
}

Shape = list[int | str | None] | None


def value(name: str, shape: Shape, datatype: str = "FP32") -> Any:
    """A graph input or output."""
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], shape)


def model(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    initializers: list[Any] | None = None,
    domains: tuple[str, ...] = (),
) -> bytes:
    """A serialised model of those parts."""
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers or [])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    imports += [helper.make_opsetid(domain, 1) for domain in domains]
    data: bytes = helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
    return data


def identity(datatype: str = "FP32", shape: Shape = None, out_shape: Shape = None) -> bytes:
    """y = x."""
    shape = shape if shape is not None else [None, 3]
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", shape, datatype)],
        [value("y", shape if out_shape is None else out_shape, datatype)],
    )


def one_node(op: str, width: int = 3, **attributes: Any) -> bytes:
    """y = op(x) on FP32 [n, width]."""
    return model(
        [helper.make_node(op, ["x"], ["y"], **attributes)],
        [value("x", [None, width])],
        [value("y", [None, width])],
    )


def centring() -> bytes:
    """y = x minus the batch's mean: the classic model whose rows depend on each other."""
    return model(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "m"], ["y"]),
        ],
        [value("x", [None, 3])],
        [value("y", [None, 3])],
    )


def external(location: str, weights: NDArray[np.float32], **extra: str) -> bytes:
    """y = x + w, with w in an external file; `extra` are further external data entries."""
    tensor = numpy_helper.from_array(weights, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = T.EXTERNAL
    entries = {"location": location, "offset": "0", "length": str(weights.nbytes)} | extra
    for key, text in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    width = len(weights)
    return model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value("x", [None, width])],
        [value("y", [None, width])],
        [tensor],
    )


def classifier(*, zipmap: bool, strings: bool = False) -> bytes:
    """label and probabilities of three classes from FP32 [n, 2], with scikit-learn's ZipMap or without."""
    labels = {"classlabels_strings": ["a", "b", "c"]} if strings else {"classlabels_ints": [0, 1, 2]}
    kind = "BYTES" if strings else "INT64"
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "scores" if zipmap else "probabilities"],
            domain="ai.onnx.ml",
            coefficients=[1.0, 0.0, 0.0, 1.0, -1.0, -1.0],
            intercepts=[0.1, 0.2, 0.3],
            multi_class=1,
            post_transform="SOFTMAX",
            **labels,
        )
    ]
    outputs = [value("label", [None], kind)]
    if zipmap:
        names = {"classlabels_strings": ["a", "b", "c"]} if strings else {"classlabels_int64s": [0, 1, 2]}
        nodes.append(helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", **names))
        key = T.STRING if strings else T.INT64
        entry = helper.make_map_type_proto(key, helper.make_tensor_type_proto(T.FLOAT, []))
        outputs.append(helper.make_value_info("probabilities", helper.make_sequence_type_proto(entry)))
    else:
        outputs.append(value("probabilities", [None, 3]))
    return model(nodes, [value("x", [None, 2])], outputs)


def array(datatype: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    """Random values of a datatype; strings of unequal lengths with non-ASCII in them."""
    random = np.random.default_rng(seed)
    if datatype == "BYTES":
        return random.choice(np.array(["", "a", "größe", "日本語", "x" * 40], object), size=shape)
    if datatype == "BOOL":
        return np.asarray(random.integers(0, 2, size=shape), np.bool_)
    dtype = helper.tensor_dtype_to_np_dtype(ONNX_TYPES[datatype])
    if datatype.startswith("FP"):
        return np.asarray(random.normal(size=shape), dtype)
    limits = np.iinfo(dtype)
    return np.asarray(random.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True), dtype)


def parsed(data: bytes) -> Any:
    """The ModelProto of `data`."""
    return onnx.load_from_string(data)
