"""What an ONNX file says before anything runs it: operators, external data, ZipMap; it loads no session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from services.artifact import split_path
from services.refusal import Refusal

# com.microsoft: the operators onnxruntime itself brings; it refuses the names it does not know at load.
_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


@dataclass(frozen=True, slots=True)
class Graph:
    """An examined model.

    `data` is what onnxruntime loads: the file's own bytes, or with its ZipMap nodes taken out. `classes` are
    the class labels of each former ZipMap output, `external` the locations of external data, `ranked` the
    inputs and outputs whose rank the file states.
    """

    data: bytes
    external: tuple[str, ...]
    classes: dict[str, list[int] | list[str]]
    ranked: frozenset[str]


def examine(data: bytes) -> Graph:
    """`data` as a Graph; raises Refusal.

    Codes: `not_onnx`, `unknown_operator`, `path_outside` (external data that leaves the folder),
    `unsupported_model` (external data in attributes, a ZipMap that feeds other nodes).
    """
    model = _parse(data)
    local = {(function.domain, function.name) for function in model.functions}
    locations: dict[str, None] = {}
    for graph in _graphs(model):
        for node in graph.node:
            _check_operator(node, local)
            _check_attributes(node)
        for location in _external(graph):
            locations[location] = None
    classes = _remove_zipmaps(model)
    values = [*model.graph.input, *model.graph.output]
    return Graph(
        data=model.SerializeToString(deterministic=True) if classes else data,
        external=tuple(locations),
        classes=classes,
        ranked=frozenset(value.name for value in values if value.type.tensor_type.HasField("shape")),
    )


def _parse(data: bytes) -> Any:
    model: Any = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise Refusal(f"this is no ONNX model: {error}", code="not_onnx") from None
    if not model.ir_version or not model.opset_import or not model.graph.node:
        raise Refusal("this is no ONNX model: it holds no operators", code="not_onnx")
    return model


def _graphs(model: Any) -> Iterator[Any]:
    """Every graph and function body, subgraphs included."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def _check_operator(node: Any, local: set[tuple[str, str]]) -> None:
    domain = node.domain
    if (domain, node.op_type) in local:
        return
    known = domain == "com.microsoft" or (domain in _DOMAINS and onnx.defs.has(node.op_type, _plain(domain)))
    if not known:
        name = f"{domain or 'ai.onnx'}.{node.op_type}"
        raise Refusal(f"operator {name} is unknown; custom operators are not run", code="unknown_operator")


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _check_attributes(node: Any) -> None:
    for attribute in node.attribute:
        tensors = [attribute.t, *attribute.tensors] if attribute.HasField("t") else list(attribute.tensors)
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for item in [*sparse, *attribute.sparse_tensors]:
            tensors += [item.values, item.indices]
        if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
            raise Refusal(
                f"attribute {attribute.name} of a {node.op_type} node has external data; only initializers may",
                code="unsupported_model",
            )


def _external(graph: Any) -> Iterator[str]:
    """The locations of a graph's external initializers, each a plain relative path."""
    tensors = list(getattr(graph, "initializer", ()))
    for sparse in getattr(graph, "sparse_initializer", ()):
        tensors += [sparse.values, sparse.indices]
    for tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if split_path(location) != location.split("/"):
            raise Refusal(f"external data location {location[:200]!r} is not plain", code="path_outside")
        for key in ("offset", "length"):
            if not entries.get(key, "0").isdigit():
                raise Refusal(f"external data of {tensor.name} has a bad {key}", code="not_onnx")
        yield location


def _remove_zipmaps(model: Any) -> dict[str, list[int] | list[str]]:
    """Takes out ZipMap nodes: their outputs become the score matrix itself, FP32 [n, classes], same name.

    onnxruntime would build a Python dict a row; here nothing at all runs in ZipMap's place.
    """
    graph = model.graph
    outputs = {value.name: value for value in graph.output}
    classes: dict[str, list[int] | list[str]] = {}
    for index, node in enumerate(graph.node):
        if node.op_type != "ZipMap" or node.domain != "ai.onnx.ml":
            continue
        name, scores = node.output[0], node.input[0]
        if name not in outputs or any(name in other.input for other in graph.node):
            raise Refusal(f"the ZipMap output {name} feeds other nodes", code="unsupported_model")
        labels = {item.name: item for item in node.attribute}
        if "classlabels_strings" in labels:
            found: list[int] | list[str] = [text.decode() for text in labels["classlabels_strings"].strings]
        else:
            found = list(labels["classlabels_int64s"].ints) if "classlabels_int64s" in labels else []
        classes[name] = found
        graph.node[index].CopyFrom(onnx.helper.make_node("Identity", [scores], [name]))
        shape = [None, len(found)] if found else None
        outputs[name].CopyFrom(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return classes
